"""The page of the commands: what `--help` says of each, and of each group's."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from typer.main import get_command

from docs.making.tables import table
from sigmafarm.cli.app import EPILOG, make_app


def commands_page() -> str:
    """Return the page."""
    program: Any = get_command(make_app())
    parts = [
        "# Commands",
        f"{EPILOG} `sigmafarm COMMAND --help` says the same in a shell; every command that answers has `--json`. These "
        "flags are the program's own, and stand before the command:",
        _parameters(program),
    ]
    for name, command in sorted(commands_of(program)):
        parts += _command(name, command)
    return "\n\n".join(parts) + "\n"


def commands_of(group: Any, before: str = "sigmafarm") -> Iterator[tuple[str, Any]]:
    """Yield each command with its whole name, those of groups too."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## {name}"
    yield inspect.cleandoc(command.help or "")
    yield f"```\n{name} {_usage(command)}\n```"
    if said := _parameters(command):
        yield said
    if command.epilog:
        yield inspect.cleandoc(command.epilog)


def _usage(command: Any) -> str:
    """Return the arguments as help shows them, behind what stands for all options."""
    words = ["[OPTIONS]"] if any(_is_option(each) for each in command.params) else []
    for each in command.params:
        if not _is_option(each):
            is_bracketed = each.required or _argument(each).startswith("[")
            words.append(_argument(each) if is_bracketed else f"[{_argument(each)}]")
    return " ".join(words)


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _is_option(parameter: Any) -> bool:
    return parameter.param_type_name == "option"


def _parameters(command: Any) -> str:
    """Return a table of the parameters, and one for each panel that help has."""
    panels: dict[str, list[tuple[str, str, str, str]]] = {"": []}
    for each in command.params:
        if getattr(each, "hidden", False) or each.name == "help":
            continue
        panel = panels.setdefault(each.rich_help_panel or "", [])
        panel.append((_names(each), _takes(each), _default(each), each.help or ""))
    heads = ("flag or argument", "takes", "unless said", "what")
    said = [f"{title + ':' if title else ''}\n\n{table(heads, rows)}" for title, rows in panels.items() if rows]
    return "\n\n".join(said).strip()


def _names(parameter: Any) -> str:
    if not _is_option(parameter):
        return f"`{_argument(parameter)}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    """Return what holds unless something is said; nothing for a switch, and where nothing is meant."""
    default = parameter.default
    if getattr(parameter, "is_flag", False) or not isinstance(default, str | int | float) or default == "":
        return ""
    return f"`{default}`"


def _takes(parameter: Any) -> str:
    """Return what a value may be: choices, or its type; nothing for a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    kind = parameter.type_descriptor.annotation
    inside = get_args(kind)
    return _kind(inside[0] if inside else kind)


def _kind(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(each.value) for each in kind)
    return {int: "whole number", float: "number", str: "text", Path: "path"}.get(kind, "")
