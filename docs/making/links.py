"""Links between the repository's Markdown files, made to lead to pages of the site.

On the repository's own pages they lead from file to file. On the site a file has another place, is no page at all (its
name is then said without a link), or is better shown by a page that is made from the code.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

#: Where pages from outside of docs/ stand on the site.
INSIDE = "inside/"
#: The page of the repository whose headings stand for the pages that are made.
REFERENCE = "docs/reference/index.md"

_FENCE = re.compile(r"^\s*(```|~~~)")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_log = logging.getLogger("mkdocs.sigmafarm")


class Links:
    """Knows which file is which page. Paths are the repository's, with slashes; pages are mkdocs' source paths."""

    def __init__(self, root: Path, pages: set[str], made: tuple[str, ...]):
        self._root, self._pages, self._made = root, pages, made

    def mended(self, markdown: str, page: str) -> str:
        """Return a page's text with its links as the site has them. Warns of those that lead nowhere."""
        return "\n".join(self._line(line, page) if is_text else line for line, is_text in told_apart(markdown))

    def _line(self, line: str, page: str) -> str:
        return _LINK.sub(lambda found: self._link(found, page), line)

    def _link(self, found: re.Match[str], page: str) -> str:
        mark, text, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        path, _, part = target.partition("#")
        source = source_of(page)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if path == REFERENCE and part in self._made:
            path, part = f"docs/reference/{part}.md", ""
        there = page_of(path)
        if there in self._pages:
            link = posixpath.relpath(there, posixpath.dirname(page) or ".")
            return f"{mark}[{text}]({link}{'#' + part if part else ''})"
        if not (self._root / path).exists():
            warn(f"{source} links to {target}, which is not there")
        return text


def told_apart(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it is text: not code between fences."""
    fence = ""
    for line in markdown.split("\n"):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
            yield line, False
        elif found and found[1] == fence:
            fence = ""
            yield line, False
        else:
            yield line, not fence


def source_of(page: str) -> str:
    """Return the repository's path of a page."""
    return page.removeprefix(INSIDE) if page.startswith(INSIDE) else f"docs/{page}"


def page_of(path: str) -> str:
    """Return the page that a file of the repository would be."""
    return path.removeprefix("docs/") if path.startswith("docs/") else INSIDE + path


def warn(text: str) -> None:
    """Say what is wrong: with `--strict` that ends the build."""
    _log.warning(text)
