"""The pages of --help: panels, an example, and every flag whole, however narrow the terminal is."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from rich.panel import Panel
from rich.text import Text
from typer.core import TyperGroup, TyperOption

from sigmafarm.console import PlainConsole

#: The widest page, and the widest column of names: longer ones have a line of their own.
MAX_WIDTH, MAX_NAMES = 100, 30
#: How typer shows what may be said several times.
_LIST = re.compile(r"<list\[(.+?)\]>")
#: Columns that a panel's frame takes.
FRAME = 4


def print_help(command: Any, ctx: Any) -> None:
    """Print the help of a command, or of a group of commands, to stdout."""
    console = PlainConsole()
    width = min(console.width, MAX_WIDTH)
    console.print(Text(command.get_usage(ctx).strip(), "bold"), soft_wrap=True)
    console.print()
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        console.print(textwrap.fill(" ".join(paragraph.split()), width, break_on_hyphens=False))
    is_group = isinstance(command, TyperGroup)
    if example := getattr(command, "example", "") if is_group else command.epilog:
        console.print(Text(f"\n  $ {example}", "green"), soft_wrap=True)
    for title, rows in _panels(command, ctx):
        console.print()
        console.print(Panel(_table(rows, width - FRAME), title=title, title_align="left", width=width))
    if command.epilog and is_group:
        console.print()
        console.print(textwrap.fill(command.epilog, width))


def _panels(command: Any, ctx: Any) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """Return the panels with their rows: a name and what it is for. Commands come first."""
    panels: dict[str, list[tuple[str, str]]] = {}
    if isinstance(command, TyperGroup):
        for name in command.list_commands(ctx):
            each = command.get_command(ctx, name)
            if each is not None and not each.hidden:
                text = inspect.cleandoc(each.help or "").split("\n\n")[0]
                panels.setdefault(getattr(each, "rich_help_panel", None) or "Commands", []).append((name, text))
    for param in command.get_params(ctx):
        if (record := param.get_help_record(ctx)) is not None:
            record = (_LIST.sub(r"<\1>", record[0]), record[1])
            usual = "Options" if isinstance(param, TyperOption) else "Arguments"
            panels.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(record)
    return panels.items()


def _table(rows: list[tuple[str, str]], width: int) -> Text:
    """Return rows as text: what is for something beside its name, or below one that is long."""
    indent = min(max(len(name) for name, _ in rows), MAX_NAMES) + 2
    lines: list[Text] = []
    for name, text in rows:
        told = textwrap.wrap(" ".join(text.split()), width - indent, break_on_hyphens=False) or [""]
        if len(name) > indent - 2:
            lines += [Text(piece, "cyan") for piece in textwrap.wrap(name, width, break_on_hyphens=False)]
        else:
            lines.append(Text.assemble((name.ljust(indent), "cyan"), told.pop(0)))
        lines += [Text(" " * indent + piece) for piece in told]
    return Text("\n").join(lines)
