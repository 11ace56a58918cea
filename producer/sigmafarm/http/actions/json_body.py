"""A submission in JSON, read a row at a time: it needs its text and one row of memory, whatever stands in it.

The standard library makes objects of a whole body at once, twenty times its size for a list of empty lists, and stops
every other thread meanwhile. Here the object is walked: its lists of rows are passed over value by value, only their
places are kept, and each row is read again when it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sigmafarm.inputs.json_rows import json_problem
from sigmafarm_common.errors import InvalidRequest, UnreadableInput
from sigmafarm_common.validation import too_many_names

#: Objects and lists are read in growing pieces of the text, so that no value is made that is larger than a row may be.
PIECES_CHARS = (1 << 9, 1 << 13, 1 << 17, 1 << 20)
LINE_END = "\n"
_SPACE = re.compile(r"[ \t\n\r]*")
_WORD = re.compile(r"[-+.\w]{1,5000}")


@dataclass(frozen=True)
class JsonBody:
    """An object whose lists of rows are not read yet."""

    text: str
    #: What it says beside the rows.
    members: Mapping[str, Any]
    #: Where the lists of rows begin, by name.
    starts: Mapping[str, int]

    def rows(self, name: str) -> Iterator[Any]:
        """Yield the rows of a list that was passed over once."""
        walk = _Walk(self.text)
        return (value for value, _ in walk.values(self.starts[name]))


def parse(data: bytes, row_lists: frozenset[str], max_rows: int) -> JsonBody | None:
    """Return the object that a body says, None where it is no object; lists of some names are passed over.

    Of a list of more than max_rows values the rest is not looked at: whoever asks for its rows has to stop there.
    Raises UnreadableInput for what is no JSON, InvalidRequest for too many names.
    """
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} is 0x{data[error.start]:02x}"
        raise UnreadableInput(f"the body is no JSON ({byte}, which is no {error.encoding.upper()})") from None
    walk = _Walk(text)
    begin = walk.behind_space(0)
    if not text.startswith("{", begin):
        walk.value(begin)
        return None
    return walk.body(begin, row_lists, max_rows)


class _Walk:
    """Goes through a text; every place is a number of characters."""

    def __init__(self, text: str):
        self._text = text
        self._decoder = json.JSONDecoder()

    def body(self, at: int, row_lists: frozenset[str], max_rows: int) -> JsonBody:
        """Return the object that begins at a place, and with which the text ends."""
        members: dict[str, Any] = {}
        starts: dict[str, int] = {}
        at = self.behind_space(at + 1)
        is_over = self._text.startswith("}", at)
        while not is_over:
            name, at = self._name(at)
            if name in row_lists and self._text.startswith("[", at):
                members.pop(name, None)
                starts[name] = at
                at = self._behind_list(at, max_rows)
                if at < 0:
                    return JsonBody(self._text, members, starts)
            else:
                starts.pop(name, None)
                members[name], at = self.value(at)
                if wrong := too_many_names(members):
                    raise InvalidRequest([wrong])
            is_over, at = self._is_last("}", at)
        if (at := self.behind_space(at + 1)) != len(self._text):
            raise self._no_json("Extra data", at)
        return JsonBody(self._text, members, starts)

    def values(self, at: int) -> Iterator[tuple[Any, int]]:
        """Yield the values of the list that begins at a place, each with the place behind it and its comma."""
        at = self.behind_space(at + 1)
        is_over = self._text.startswith("]", at)
        while not is_over:
            value, at = self.value(at)
            is_over, at = self._is_last("]", at)
            yield value, at

    def value(self, at: int) -> tuple[Any, int]:
        """Return the value that begins at a place, and the place behind it."""
        first = self._text[at : at + 1]
        if first == '"':
            return self._read(self._text, at, 0)
        if first and first in "{[":
            return self._read_in_pieces(at)
        word = _WORD.match(self._text, at)
        if word is None:
            raise self._no_json("Expecting value", at)
        value, end = self._read(word[0], 0, at)
        return value, at + end

    def behind_space(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _name(self, at: int) -> tuple[str, int]:
        """Return the name of a member, and the place of its value."""
        if not self._text.startswith('"', at):
            raise self._no_json("Expecting property name enclosed in double quotes", at)
        name, end = self.value(at)
        colon = self.behind_space(end)
        if not self._text.startswith(":", colon):
            raise self._no_json("Expecting ':' delimiter", colon)
        return name, self.behind_space(colon + 1)

    def _is_last(self, closing: str, at: int) -> tuple[bool, int]:
        """Whether what ends at a place is the last of its list or object; and the place of that one's end, or of what
        comes next."""
        at = self.behind_space(at)
        if self._text.startswith(closing, at):
            return True, at
        if not self._text.startswith(",", at):
            raise self._no_json("Expecting ',' delimiter", at)
        return False, self.behind_space(at + 1)

    def _behind_list(self, at: int, max_rows: int) -> int:
        """Return the place behind the list that begins at a place, -1 where it has more than max_rows values."""
        end = self.behind_space(at + 1)
        for num, (_, behind) in enumerate(self.values(at), start=1):
            if num > max_rows:
                return -1
            end = behind
        return end + 1

    def _read_in_pieces(self, at: int) -> tuple[Any, int]:
        """Read an object or a list. What is cut off at the end of a piece is an error there too, and tried again."""
        for size in PIECES_CHARS:
            try:
                value, end = self._decoder.raw_decode(self._text[at : at + size])
                return value, at + end
            except json.JSONDecodeError as error:
                if at + size >= len(self._text):
                    raise self._no_json(error.msg, at + error.pos) from None
            except (ValueError, RecursionError) as error:
                raise self._no_json(json_problem(error), at) from None
        raise self._no_json(f"an object or list of more than {PIECES_CHARS[-1]} characters, or one without an end", at)

    def _read(self, text: str, at: int, offset: int) -> tuple[Any, int]:
        """Read a text or a word."""
        try:
            return self._decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise self._no_json(error.msg, offset + error.pos) from None
        except ValueError as error:
            raise self._no_json(json_problem(error), offset + at) from None

    def _no_json(self, what: str, at: int) -> UnreadableInput:
        what = what.removesuffix(" at")
        return UnreadableInput(f"the body is no JSON ({what} at line {self._text.count(LINE_END, 0, at) + 1})")
