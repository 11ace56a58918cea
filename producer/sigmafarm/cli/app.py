"""The program: its global flags, its commands, and the one place where errors become a message and an exit code."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sigmafarm.cli.commands import Program, ReaderHasLeft
from sigmafarm.cli.output import print_json, say_error
from sigmafarm_common.config import LogFormat
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.visible import visible

#: What the help says of itself.
EPILOG = (
    "Exit codes: 0 done, 1 some jobs failed (check, doctor: not all is well), 2 usage or bad input, "
    "3 farm out of reach, 130 Ctrl-C."
)

#: What typer's checks of values say, by what we say.
_IN_OUR_WORDS = {
    r"Input should be a valid integer(, .*)?$": "must be a whole number",
    r"Input should be a valid number(, .*)?$": "must be a number",
    r"Input should be greater than or equal to (\S+)$": r"must be at least \1",
    r"Input should be less than or equal to (\S+)$": r"must be at most \1",
    r"Value error, ": "",
}


def make_app() -> typer.Typer:
    """Return the program with all its commands."""
    app = typer.Typer(
        name="sigmafarm",
        cls=Program,
        help="A render farm for Stable Diffusion: prompts go in by the thousand, pictures come out.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_flags)
    return app


def main() -> None:
    """Run the program and exit with its code: 130 on Ctrl-C, 2 on a wrong flag."""
    try:
        sys.exit(make_app()(standalone_mode=False))
    except SigmafarmError as error:
        say_error(error)
        if "--json" in sys.argv:
            from sigmafarm.shapes import error_json

            print_json({"error": error_json(error)})
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
    except typer.TyperException as error:
        _say_usage(error)
    except (ReaderHasLeft, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _say_usage(error: typer.TyperException) -> NoReturn:
    """Say what is wrong with the arguments as typer does, but for their control characters: names of files are
    other people's text too."""
    from typer.rich_utils import rich_format_error  # brings a tenth of a second: only when asked

    said: Any = error
    message = visible(_plainly(said.format_message()))
    if "--json" in sys.argv:
        print_json({"error": {"code": "invalid_request", "message": message, "fields": [], "retryable": False}})
    said.format_message = lambda: message
    rich_format_error(said)
    sys.exit(said.exit_code)


def _plainly(message: str) -> str:
    """Return what typer says of a value in the words that files and bodies get."""
    for theirs, ours in _IN_OUR_WORDS.items():
        message = re.sub(theirs, ours, message)
    return message


def _say_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"sigmafarm {version('sigmafarm')}\n")
        raise typer.Exit


def _global_flags(
    context: typer.Context,
    redis_url: Annotated[str | None, typer.Option(help="The farm's Redis: redis://host:6379/0")] = None,
    objects_url: Annotated[str | None, typer.Option(help="Where pictures lie: s3://bucket/prefix or a folder")] = None,
    s3_endpoint_url: Annotated[str | None, typer.Option(help="The S3 server's URL")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The folder of the farm on this machine")] = None,
    models_file: Annotated[Path | None, typer.Option(help="The TOML file that names the models")] = None,
    namespace: Annotated[str | None, typer.Option(help="What the farm's Redis keys begin with")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose batches these are")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error")] = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="How log lines look")] = None,
    is_version_asked: Annotated[
        bool, typer.Option("--version", help="Show the version and exit", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Every setting has a SIGMAFARM_* variable too; see `sigmafarm config`."""
    del is_version_asked  # it has spoken by now, and ended the program
    context.obj = {
        "redis_url": redis_url,
        "objects_url": objects_url,
        "s3_endpoint_url": s3_endpoint_url,
        "data_dir": data_dir,
        "models_file": models_file,
        "namespace": namespace,
        "owner": owner,
        "log_level": log_level,
        "log_format": log_format,
    }
