"""The code blocks of a page that are marked to be run, or to be written into a file for those.

A comment stands in the line above the block: `<!-- run -->`, `<!-- run: exit 2 -->` (commands that end with that code),
`<!-- file: prompts.csv -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARKED = re.compile(
    r"^<!-- (?P<kind>run|file)(?:: (?P<about>[^>]*))? -->\n```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A block, and where it stands."""

    kind: str
    about: str
    language: str
    text: str
    #: The line of its mark, from 1.
    line: int

    @property
    def exit_code(self) -> int:
        return int(self.about.removeprefix("exit ")) if self.about else 0

    def commands(self) -> Iterator[str]:
        """Yield the commands of a block for the shell, each in one line."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()


def blocks_of(page: str) -> list[Block]:
    """Return the marked blocks of a page."""
    return [
        Block(
            found["kind"],
            found["about"] or "",
            found["language"],
            found["text"],
            page.count("\n", 0, found.start()) + 1,
        )
        for found in _MARKED.finditer(page)
    ]
