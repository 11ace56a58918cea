"""Lists that prompts name: `__animal__` is every line of animal.txt in the folder of lists.

A line is an alternative as braces would hold it: it may have a weight (`3::fox`), groups and further lists. Blank lines
and those that begin with # say nothing. Lists may lie in folders of the folder: `__zoo/animal__`.
"""

from __future__ import annotations

import difflib
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from sigmafarm.matrices.templates import Group
from sigmafarm_common.errors import FieldError, InvalidRequest, UnreadableInput

#: What a list's file ends in.
SUFFIX = ".txt"
#: The largest list, in bytes and lines, and lists that an error names.
MAX_LIST_BYTES, MAX_LIST_LINES, SHOWN_LISTS = 1 << 20, 10_000, 12


class FolderLists:
    """The lists of a folder, each read once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.groups: MutableMapping[str, Group] = {}
        if not folder.is_dir():
            raise UnreadableInput(f"the folder of lists {folder} is none: name a folder with files such as animal.txt")

    def lines(self, name: str) -> Sequence[str]:
        """Return the lines of a list. Raises InvalidRequest for one that is not there, empty, too large or no UTF-8."""
        text = _text_of(name, self._path_of(name))
        stripped = (line.strip() for line in text.splitlines())
        lines = tuple(line for line in stripped if line and not line.startswith("#"))
        if not lines:
            raise _bad(f"list {name} has no line: write one alternative a line")
        if len(lines) > MAX_LIST_LINES:
            raise _bad(f"list {name} has {len(lines)} lines: {MAX_LIST_LINES} is the most; split it")
        return lines

    def _path_of(self, name: str) -> Path:
        """Return the file of a list: one that lies in the folder, wherever links and dots lead."""
        root = self._folder.resolve()
        path = (root / f"{name}{SUFFIX}").resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise _bad(f"prompt names list {name}, which is not there: {self._cure(name)}")
        return path

    def _cure(self, name: str) -> str:
        known = sorted(str(each.relative_to(self._folder).with_suffix("")) for each in self._folder.rglob(f"*{SUFFIX}"))
        if near := difflib.get_close_matches(name, known, n=1):
            return f"did you mean {near[0]}?"
        shown = ", ".join(known[:SHOWN_LISTS]) + (" and more" if len(known) > SHOWN_LISTS else "")
        return f"lists are {shown or 'none'}; write \\_ for an underscore"


def _text_of(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        if len(data) > MAX_LIST_BYTES:
            raise _bad(f"list {name} has more than {MAX_LIST_BYTES} bytes: split it")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(f"list {name} is no UTF-8 (byte {error.start + 1}): save it as UTF-8") from None
    except OSError as error:
        raise _bad(f"list {name} cannot be read ({error.strerror}): check its file") from None


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError("prompt", message)])
