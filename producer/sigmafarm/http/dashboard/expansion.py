"""Alternatives in prompts: `a {red|blue} {circle|square}` stands for four prompts.

A group is braces with at least one bar; groups may stand inside of alternatives; an alternative may be empty. Braces
without a bar are text, as they stand. A backslash before `{`, `|`, `}` or itself makes that character text. The
rightmost group changes fastest. How many prompts there are is counted without making them, so that no prompt can make
the server work for more than its limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from sigmafarm_common.errors import FieldError, InvalidRequest

#: How deep groups may stand in groups, and how many groups a prompt may have.
MAX_DEPTH, MAX_GROUPS = 8, 100

_ESCAPED = frozenset("{|}\\")


@dataclass(frozen=True)
class Group:
    """Alternatives, each a sequence of texts and further groups."""

    alternatives: tuple[Template, ...]


@dataclass(frozen=True)
class Template:
    """A prompt as it is written: texts and groups in order."""

    parts: tuple[str | Group, ...]

    @property
    def num(self) -> int:
        """How many prompts it stands for."""
        return prod(_num_of(part) for part in self.parts)

    def prompts(self) -> Iterator[str]:
        """Yield the prompts, one at a time."""
        return _joined(self.parts)


def parse(text: str) -> Template:
    """Read a prompt with alternatives. Raises InvalidRequest for a group that is never closed, or too many."""
    reader = _Reader(text)
    return reader.template()


def _num_of(part: str | Group) -> int:
    return 1 if isinstance(part, str) else sum(alternative.num for alternative in part.alternatives)


def _joined(parts: Sequence[str | Group]) -> Iterator[str]:
    if not parts:
        yield ""
        return
    for head in _choices(parts[0]):
        for rest in _joined(parts[1:]):
            yield head + rest


def _choices(part: str | Group) -> Iterable[str]:
    if isinstance(part, str):
        return (part,)
    return (text for alternative in part.alternatives for text in alternative.prompts())


class _Reader:
    """One pass from left to right; `_at` is the place of the next character."""

    def __init__(self, text: str):
        self._text, self._at = text, 0
        self._num_groups = 0

    def template(self) -> Template:
        parts, ended_by = self._parts(depth=0)
        assert not ended_by, "only groups end early"
        return Template(parts)

    def _parts(self, depth: int) -> tuple[tuple[str | Group, ...], str]:
        """Return what stands here up to the end of the alternative, and the character that ended it."""
        parts: list[str | Group] = []
        while self._at < len(self._text):
            each = self._text[self._at]
            if each in "|}" and depth > 0:
                self._at += 1
                return _merged(parts), each
            if each == "{":
                parts += self._braces(depth + 1)
            else:
                parts.append(self._character(each))
        return _merged(parts), ""

    def _character(self, each: str) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        is_escape = each == "\\" and following in _ESCAPED and following != ""
        self._at += 2 if is_escape else 1
        return following if is_escape else each

    def _braces(self, depth: int) -> list[str | Group]:
        """Return the group that begins here, or the braces as text where there is no bar in them."""
        begin = self._at
        if depth > MAX_DEPTH:
            raise _bad(f"prompt has alternatives {depth} deep at character {begin + 1}: {MAX_DEPTH} is the most")
        self._at += 1
        alternatives: list[Template] = []
        ended_by = "|"
        while ended_by == "|":
            parts, ended_by = self._parts(depth)
            alternatives.append(Template(parts))
        if len(alternatives) == 1:  # no bar: text
            return ["{", *alternatives[0].parts, *(["}"] if ended_by else [])]
        if not ended_by:
            raise _bad(
                f"prompt opens alternatives at character {begin + 1} and never closes them: add }}, or write \\{{ "
                "for a brace"
            )
        self._num_groups += 1
        if self._num_groups > MAX_GROUPS:
            raise _bad(f"prompt has more than {MAX_GROUPS} groups of alternatives: take fewer")
        return [Group(tuple(alternatives))]


def _merged(parts: Iterable[str | Group]) -> tuple[str | Group, ...]:
    """Return the parts with neighbouring texts joined: the depth of `_joined` is the number of parts."""
    merged: list[str | Group] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, str) and isinstance(last, str):
            merged[-1] = last + part
        else:
            merged.append(part)
    return tuple(merged)


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError("prompt", message)])
