"""`sigmafarm logs`: what the parts of the farm on this machine have said."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sigmafarm.cli.output import config_of
from sigmafarm.log_files import last_lines, log_path, new_lines
from sigmafarm_common.errors import NotFound
from sigmafarm_common.visible import visible

#: Pause between two looks at files that are followed.
LOOK_S = 0.25
#: Fields of a line that have a place of their own in what people read.
_PLACED = ("timestamp", "level", "event", "worker", "process", "logger")


class Part(StrEnum):
    """The parts of a farm that have a log."""

    WORKER = "worker"
    API = "api"
    BROKER = "broker"


def logs(
    context: typer.Context,
    parts: Annotated[list[Part] | None, typer.Argument(help="Which parts; none: worker and api")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C")] = False,
    worker_id: Annotated[str | None, typer.Option("--worker", metavar="ID", help="Only what this worker says")] = None,
    num: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines of each part")] = 100,
    is_json: Annotated[bool, typer.Option("--json", help="Print the lines as they stand in the files: JSON")] = False,
) -> None:
    """Print what the parts of the farm of `sigmafarm up` have said, oldest first.

    The files are in the data folder: worker.log (the workers and their supervisor), api.log and broker/server.log. The
    last three of each are kept as worker.log.1 and so on.
    """
    data_dir = config_of(context).data_dir
    files = [log_path(data_dir, part) for part in parts or (Part.WORKER, Part.API)]
    if not any(file.exists() for file in files):
        raise NotFound(
            f"there are no logs in {data_dir}: `sigmafarm up` writes them there; other services say theirs to who "
            "started them, as in `docker compose logs`"
        )
    show = _Printer(worker_id, is_json=is_json)
    places: dict[Path, int] = {}
    found: list[tuple[str, str]] = []
    for file in files:
        lines, places[file] = last_lines(file, num)
        found += _timed(lines)
    show.print([text for _, text in sorted(found, key=lambda each: each[0])])
    while follow:
        for file in files:
            lines, places[file] = new_lines(file, places[file])
            show.print(lines)
        threading.Event().wait(LOOK_S)


class _Printer:
    """Prints lines, those of one worker if one is named."""

    def __init__(self, worker_id: str | None, *, is_json: bool):
        self._worker_id, self._is_json = worker_id, is_json

    def print(self, lines: list[str]) -> None:
        for line in lines:
            said = _read(line)
            if self._worker_id is None or said.get("worker") == self._worker_id:
                sys.stdout.write(visible(line if self._is_json or not said else _words(said)) + "\n")
        sys.stdout.flush()


def _read(line: str) -> dict[str, Any]:
    """Return what a line says, empty for one that is no JSON: a traceback, the broker's own."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _timed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield lines with their times; one that has none goes with the line before it."""
    time = ""
    for text in lines:
        time = str(_read(text).get("timestamp") or time)
        yield time, text


def _words(said: dict[str, Any]) -> str:
    """Return a line as people read it: time, level, who, what, and the rest by name."""
    who = said.get("worker") or said.get("process") or said.get("logger", "")
    time = str(said.get("timestamp", ""))[:19].replace("T", " ")
    rest = " ".join(f"{name}={value}" for name, value in said.items() if name not in _PLACED)
    return " ".join(filter(None, (time, f"{said.get('level', ''):<7}", str(who), str(said.get("event", "")), rest)))
