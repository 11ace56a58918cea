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
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
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
CUT = frozenset({"prompt or error", "title"})
#: Columns that a terminal leaves out where the others have no room, in this order; never a table's first.
SPARE = ("tries", "predicts", "priority", "defaults", "worker", "submitted", "step", "parts", "warnings")
#: Longest id that a table leaves whole whatever the terminal's width, and longest cell that it never breaks.
MAX_ID_CHARS, MAX_WHOLE_CHARS = 60, 20
#: What a column has at least that is cut, and one whose cells are broken between words.
LEAST_CUT_CHARS, LEAST_BROKEN_CHARS = 20, 12


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
    """A table: on a terminal as wide as that is, with what it has room for, one line a row; elsewhere a line a row with
    tabs between its cells, whole and without a head, as programs read it."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]):
        """Columns whose name begins with > stand to the right."""
        self._names = [name.lstrip(">") for name in columns]
        self._is_right = [name.startswith(">") for name in columns]
        self._rows = [[cell if isinstance(cell, Text) else line(cell) for cell in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table(options.max_width)

    def table(self, width: int) -> Table:
        """Return it for people, for a terminal so wide. Columns that say nothing, or have no room, are left out."""
        made = Table(box=None, pad_edge=False, header_style="bold")
        shown = self._shown(width)
        for n in shown:
            name, widest = self._names[n], self._width(n)
            justify, column = "right" if self._is_right[n] else "left", made.add_column
            if name in CUT:
                column(name, justify=justify, no_wrap=True, overflow="ellipsis", width=self._room(n, shown, width))
            elif self._is_whole(n):
                column(name, justify=justify, no_wrap=True, min_width=widest)
            else:
                column(name, justify=justify, overflow="fold")
        for row in self._rows:
            made.add_row(*(row[n] for n in shown))
        return made

    def _shown(self, width: int) -> list[int]:
        """Return which columns a terminal so wide has."""
        shown = [n for n in range(len(self._names)) if not n or not self._says_nothing(n)]
        for spare in (self._names.index(name) for name in SPARE if name in self._names[1:]):
            if sum(map(self._need, shown)) + 2 * (len(shown) - 1) > width and spare in shown:
                shown.remove(spare)
        return shown

    def _room(self, n: int, shown: Sequence[int], width: int) -> int:
        """Return how wide a column is that is cut: what the others leave."""
        others = sum(self._need(each) + 2 for each in shown if each != n)
        return max(1, min(self._width(n), width - others))

    def _says_nothing(self, n: int) -> bool:
        return bool(self._rows) and all(row[n].plain in ("", "-") for row in self._rows)

    def _need(self, n: int) -> int:
        if self._is_whole(n):
            return self._width(n)
        return min(self._width(n), LEAST_CUT_CHARS if self._names[n] in CUT else LEAST_BROKEN_CHARS)

    def _is_whole(self, n: int) -> bool:
        """Whether cells are never broken or cut: ids are copied from there, and short ones are ugly in two."""
        name = self._names[n]
        return name not in CUT and self._width(n) <= (MAX_ID_CHARS if name in IDS else MAX_WHOLE_CHARS)

    def _width(self, n: int) -> int:
        return max([len(self._names[n]), *(row[n].cell_len for row in self._rows)])

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
            console.print(part)


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
