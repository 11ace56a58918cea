"""How commands speak: JSON of a stable shape to stdout for programs, tables for people, remarks to stderr.

Nothing that a command prints drives the terminal, whoever wrote it: everything goes through here and `visible`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sigmafarm.console import PlainConsole, line
from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidRows, SigmafarmError
from sigmafarm_common.records import Counts
from sigmafarm_common.states import JobState
from sigmafarm_common.visible import visible, visible_json

if TYPE_CHECKING:
    from sigmafarm.farm import Farm
    from sigmafarm_common.store.redis_store import RedisStore

#: The flag of every command that programs read.
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text")]
#: The colour of each state.
STATE_STYLES = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}


#: Columns of ids.
IDS = frozenset({"batch", "job", "worker"})
#: Columns that are cut at the edge of a terminal.
CUT = frozenset({"prompt or error"})
#: Longest id that a table leaves whole whatever the terminal's width.
MAX_ID_CHARS = 60


def farm_of(context: typer.Context) -> Farm:
    """Return the farm that the global flags and the environment name."""
    from sigmafarm.farm import Farm  # brings all that submits: who only looks asks the store

    return Farm(config_of(context))


def store_of(context: typer.Context) -> RedisStore:
    """Return the records of that farm."""
    from sigmafarm_common.store.redis_store import RedisStore

    return RedisStore(config_of(context))


def config_of(context: typer.Context, **flags: Any) -> Config:
    """Return the settings, the command's own flags first."""
    said = {name: value for name, value in flags.items() if value is not None}
    return Config.load(**{**context.obj, **said})


def print_json(value: Any) -> None:
    """Write one JSON value and a line end to stdout."""
    sys.stdout.write(visible_json(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def say(message: str) -> None:
    """Write a remark of one line to stderr, where it does not disturb what stdout carries."""
    sys.stderr.write(visible(message) + "\n")


def say_error(error: SigmafarmError) -> None:
    """Write what ended a command to stderr: one line, or one for each bad row."""
    keep = "\n" if isinstance(error, InvalidRows) else ""
    sys.stderr.write(visible(f"sigmafarm: {error}", keep=keep) + "\n")


def out() -> PlainConsole:
    """Return the console of stdout. What is no terminal has lines of any length."""
    return PlainConsole(soft_wrap=not sys.stdout.isatty())


class Rows:
    """A table: on a terminal as wide as that is, prompts cut to keep one line a row; elsewhere a line a row with
    tabs between its cells, whole and without a head, as programs read it."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]):
        """Columns whose name begins with > stand to the right."""
        self._columns = columns
        self._rows = [[cell if isinstance(cell, Text) else line(cell) for cell in row] for row in rows]

    def table(self) -> Table:
        """Return it for people."""
        made = Table(box=None, pad_edge=False, header_style="bold")
        for n, name in enumerate(self._columns):
            justify, column = "right" if name.startswith(">") else "left", made.add_column
            width = max((row[n].cell_len for row in self._rows), default=1)
            if name in IDS and width <= MAX_ID_CHARS:  # whole on the narrowest terminal: they are copied from there
                column(name, justify=justify, no_wrap=True, min_width=width)
            elif name in CUT:
                column(name.lstrip(">"), justify=justify, no_wrap=True, overflow="ellipsis")
            else:
                column(name.lstrip(">"), justify=justify, overflow="fold")
        for row in self._rows:
            made.add_row(*row)
        return made

    def text(self) -> str:
        """Return it for programs."""
        return "".join("\t".join(cell.plain for cell in row) + "\n" for row in self._rows)


def show(*parts: RenderableType | Rows) -> None:
    """Write parts to stdout, tables as suits what reads them."""
    console = out()
    for part in parts:
        if isinstance(part, Rows) and not console.is_terminal:
            sys.stdout.write(part.text())
        else:
            console.print(part.table() if isinstance(part, Rows) else part)


def counts_text(counts: Counts) -> Text:
    """Return the counts that are not zero, coloured."""
    parts = [Text(f"{n} {s}", STATE_STYLES[s]) for s in JobState if (n := getattr(counts, s.value))]
    return Text(", ").join(parts)


def time_text(at_ms: int) -> str:
    """Return a stored time as local time, a dash for none."""
    return datetime.fromtimestamp(at_ms / 1000).strftime("%Y-%m-%d %H:%M:%S") if at_ms else "-"


def exit_code_of(counts: Counts) -> int:
    """Return 1 where some jobs failed or were cancelled, else 0."""
    return 1 if counts.failed or counts.cancelled else 0
