"""Alternatives in prompts: `a {red|blue} {circle|square}` stands for four prompts.

A group is braces with at least one bar; groups may stand inside of alternatives; an alternative may be empty. Braces
without a bar are text, as they stand. The rightmost group changes fastest.

`{red|blue}:{ rose| sea}`: groups with a colon between them are walked in step, the first alternative with the first,
and stand side by side, the colon left out. Where the second holds numbers alone, the colon is text and both are walked:
`({cat|dog}:{1.1|1.3})` makes the weights of a prompt.
`{2::red|blue}`: a group with a weight is not walked: one alternative is drawn, those without a weight count 1. In it,
all is drawn.
`__animal__`: the lines of a list, as a group (wildcards.py), where lists are known.
A backslash before `{`, `|`, `}`, `:`, `_` or itself makes that character text.

How many prompts there are is counted without making them, so that no prompt can make the farm work for more than its
limits.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from random import Random
from typing import Protocol

from sigmafarm_common.errors import FieldError, InvalidRequest

#: How deep groups may stand in groups, and how many groups a prompt may have.
MAX_DEPTH, MAX_GROUPS = 8, 100

_ESCAPED = frozenset("{|}\\:_")
_WEIGHT = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{0,6})?|\.[0-9]{1,6})::")
_NUMBER = re.compile(r"\s*[0-9]*\.?[0-9]+\s*")
_LIST = re.compile(r"__([A-Za-z0-9](?:[A-Za-z0-9./-]|_(?!_)){0,99})__")


class Lists(Protocol):
    """The lists that a prompt may name."""

    #: Those that were read, by name.
    groups: MutableMapping[str, Group]

    def lines(self, name: str) -> Sequence[str]:
        """Return the lines of a list. Raises InvalidRequest."""
        ...


@dataclass(frozen=True)
class Pick:
    """One prompt of a template, and what was taken in each of its groups, by the group's name."""

    prompt: str
    taken: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """Alternatives, each a sequence of texts and further groups."""

    alternatives: tuple[Template, ...]
    #: One number an alternative where one of them is drawn; empty where all are walked.
    weights: tuple[float, ...] = ()
    #: The list that it is; empty for braces.
    name: str = ""

    @cached_property
    def num(self) -> int:
        """How many texts it stands for."""
        return 1 if self.weights else sum(each.num for each in self.alternatives)

    def texts(self, chance: Random) -> Iterator[str]:
        """Yield its texts in order; one where it is drawn."""
        if self.weights:
            yield self.draw(chance)
            return
        for each in self.alternatives:
            yield from ("".join(parts) for parts in _walk(each.parts, chance))

    def draw(self, chance: Random) -> str:
        """Return one of its texts by chance and weight."""
        at = bisect_right(self._ends, chance.random() * self._ends[-1])
        return self.alternatives[min(at, len(self.alternatives) - 1)].draw(chance)

    @cached_property
    def _ends(self) -> Sequence[float]:
        """Where the share of each alternative ends: one number of chance falls into one of them."""
        return list(accumulate(self.weights or [1.0] * len(self.alternatives)))


@dataclass(frozen=True)
class Template:
    """A prompt as it is written: texts and groups in order."""

    parts: tuple[str | Group, ...]

    @cached_property
    def num(self) -> int:
        """How many prompts it stands for."""
        return prod(1 if isinstance(part, str) else part.num for part in self.parts)

    def picks(self, chance: Random) -> Iterator[Pick]:
        """Yield its prompts, one at a time; what has weights is drawn anew for each."""
        return (self._pick(parts) for parts in _walk(self.parts, chance))

    def draws(self, num: int, chance: Random) -> Iterator[Pick]:
        """Yield so many prompts, each drawn: of every group one alternative, by weight where it has any."""
        for _ in range(num):
            yield self._pick([part if isinstance(part, str) else part.draw(chance) for part in self.parts])

    def draw(self, chance: Random) -> str:
        """Return one of its prompts by chance."""
        return "".join(part if isinstance(part, str) else part.draw(chance) for part in self.parts)

    def _pick(self, texts: Sequence[str]) -> Pick:
        taken: dict[str, str] = {}
        for part, text in zip(self.parts, texts, strict=True):
            if isinstance(part, Group):
                taken[_new_name(part.name, taken)] = text
        return Pick("".join(texts), taken)


def parse(text: str, lists: Lists | None = None) -> Template:
    """Read a prompt with alternatives. Raises InvalidRequest for a group that is never closed, too many, or a list that
    nobody knows."""
    return _Reader(text, lists).template()


def _walk(parts: Sequence[str | Group], chance: Random) -> Iterator[list[str]]:
    """Yield the texts of all parts, in every combination."""
    if not parts:
        yield []
        return
    head = parts[0]
    for text in (head,) if isinstance(head, str) else head.texts(chance):
        for rest in _walk(parts[1:], chance):
            yield [text, *rest]


def _new_name(name: str, taken: Mapping[str, str]) -> str:
    """Return what a group is called: its list's name, else `choice`; with its number from the second on."""
    base = name or "choice"
    names = (base if number == 1 else f"{base} {number}" for number in range(1, len(taken) + 2))
    return next(each for each in names if each not in taken)


class _Reader:
    """One pass from left to right; `_at` is the place of the next character."""

    def __init__(self, text: str, lists: Lists | None = None, depth: int = 0, above: tuple[str, ...] = ()):
        self._text, self._at, self._lists = text, 0, lists
        self._depth, self._above = depth, above
        self._num_groups = 0

    def template(self) -> Template:
        parts, ended_by = self._parts(self._depth, is_inside=False)
        assert not ended_by, "only groups end early"
        return Template(parts)

    def alternative(self) -> tuple[float | None, Template]:
        """Return the text as an alternative of a list: its weight, if it has one, and what it says."""
        weight = self._weight()
        return weight, self.template()

    def _parts(self, depth: int, *, is_inside: bool) -> tuple[tuple[str | Group, ...], str]:
        """Return what stands here up to the end of the alternative, and the character that ended it."""
        parts: list[str | Group] = []
        while self._at < len(self._text):
            each = self._text[self._at]
            if each in "|}" and is_inside:
                self._at += 1
                return _merged(parts), each
            if each == "{":
                parts += self._bound(depth + 1)
            elif each == "_" and self._lists is not None and (match := _LIST.match(self._text, self._at)):
                parts.append(self._list(match, depth + 1))
            else:
                parts.append(self._character(each))
        return _merged(parts), ""

    def _character(self, each: str) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        is_escape = each == "\\" and following in _ESCAPED and following != ""
        self._at += 2 if is_escape else 1
        return following if is_escape else each

    def _bound(self, depth: int) -> list[str | Group]:
        """Return the group that begins here together with those that are walked in step with it."""
        begin = self._at
        parts: list[str | Group] = self._braces(depth)
        while len(parts) == 1 and isinstance(parts[0], Group) and self._text.startswith(":{", self._at):
            self._at += 1
            following = self._braces(depth)
            if not (len(following) == 1 and isinstance(following[0], Group)) or _is_all_numbers(following[0]):
                return [*parts, ":", *following]
            parts = [_in_step(parts[0], following[0], begin)]
        return parts

    def _braces(self, depth: int) -> list[str | Group]:
        """Return the group that begins here, or the braces as text where there is no bar in them."""
        begin = self._at
        self._check_depth(depth)
        self._at += 1
        said: list[tuple[float | None, Template]] = []
        ended_by = "|"
        written: list[str] = []
        while ended_by == "|":
            start = self._at
            weight = self._weight()
            written.append(self._text[start : self._at])
            parts, ended_by = self._parts(depth, is_inside=True)
            said.append((weight, Template(parts)))
        if len(said) == 1:  # no bar: text
            return ["{", written[0], *said[0][1].parts, *(["}"] if ended_by else [])]
        if not ended_by:
            raise _bad(
                f"prompt opens alternatives at character {begin + 1} and never closes them: add }}, or write \\{{ "
                "for a brace"
            )
        self._count_group()
        return [_group(said, f"the alternatives at character {begin + 1} of the prompt")]

    def _list(self, match: re.Match[str], depth: int) -> Group:
        name = match[1]
        assert self._lists is not None, "asked before"
        self._check_depth(depth)
        if name in self._above:
            raise _bad(f"list {name} names itself, by way of {' and '.join(self._above)}: take that line out")
        self._count_group()
        self._at = match.end()
        if name in self._lists.groups:
            return self._lists.groups[name]
        above = (*self._above, name)
        lines = self._lists.lines(name)
        said = [_Reader(line, self._lists, depth, above).alternative() for line in lines]
        return self._lists.groups.setdefault(name, _group(said, f"the lines of list {name}", name))

    def _weight(self) -> float | None:
        match = _WEIGHT.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return float(match[1])

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            place = f"in list {self._above[-1]}" if self._above else f"at character {self._at + 1}"
            raise _bad(f"prompt has alternatives {depth} deep {place}: {MAX_DEPTH} is the most")

    def _count_group(self) -> None:
        self._num_groups += 1
        if self._num_groups > MAX_GROUPS:
            raise _bad(f"prompt has more than {MAX_GROUPS} groups of alternatives: take fewer")


def _group(said: Sequence[tuple[float | None, Template]], where: str, name: str = "") -> Group:
    alternatives = tuple(template for _, template in said)
    if all(weight is None for weight, _ in said):
        return Group(alternatives, (), name)
    weights = tuple(1.0 if weight is None else weight for weight, _ in said)
    if not any(weights):
        raise _bad(f"{where} have no weight above 0: nothing could be drawn; give one, such as 1::")
    return Group(alternatives, weights, name)


def _in_step(first: Group, second: Group, begin: int) -> Group:
    """Return two groups as one, whose alternatives are those of both side by side."""
    nums = len(first.alternatives), len(second.alternatives)
    if nums[0] != nums[1]:
        raise _bad(
            f"prompt has {nums[0]} alternatives at character {begin + 1} and {nums[1]} behind the colon: groups with a "
            "colon between them are walked in step; give both as many, or write \\: for a colon"
        )
    if first.weights and second.weights:
        raise _bad(
            f"prompt has weights on both sides of the colon behind character {begin + 1}: give them in the first"
        )
    pairs = zip(first.alternatives, second.alternatives, strict=True)
    joined = tuple(Template(_merged([*a.parts, *b.parts])) for a, b in pairs)
    return Group(joined, first.weights or second.weights)


def _is_all_numbers(group: Group) -> bool:
    texts = ["".join(str(part) for part in each.parts) for each in group.alternatives]
    return not group.weights and all(_NUMBER.fullmatch(text) for text in texts)


def _merged(parts: Iterable[str | Group]) -> tuple[str | Group, ...]:
    """Return the parts with neighbouring texts joined: the depth of `_walk` is the number of parts."""
    merged: list[str | Group] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, str) and isinstance(last, str):
            merged[-1] = last + part
        elif part != "":
            merged.append(part)
    return tuple(merged)


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError("prompt", message)])
