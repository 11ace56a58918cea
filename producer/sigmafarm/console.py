"""The console that everything for people is printed on: no markup, and no control character but its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from sigmafarm_common.visible import visible


class PlainConsole(Console):
    """A console for other people's text: `[red]` is text on it, and so is an escape sequence."""

    def __init__(self, **about: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **about)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what is printed. What `line` did not see, since it was no text of ours, is shown here at last."""
        if isinstance(renderable, str):
            renderable = line(renderable, keep="\n")
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text, keep="\n"), segment.style)

    def on_broken_pipe(self) -> None:
        """Leave it to the program that whoever read our output has gone: rich's own way ends it with 1."""
        raise BrokenPipeError("whoever read the output has gone")


def line(text: str, style: str | Style = "", *, keep: str = "") -> Text:
    """Return text as it may be printed, as wide as it will be: tables count its characters."""
    return Text(visible(text, keep=keep), style)
