"""Prompts of any length: tokens are laid into chunks of as many as the text encoder reads, each with start and end.

AUTOMATIC1111's rules. A chunk that is full is closed; where a comma stands among its last tokens, what follows the
comma goes to the next one, so that no phrase is torn apart. What an embedding stands for is never torn apart either.
The rest of a chunk is padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

#: Tokens before the end of a full chunk within which a comma ends it.
COMMA_REACH = 20


class Group(NamedTuple):
    """Tokens that stay together, and their weight. None instead of tokens: a new chunk begins."""

    ids: tuple[int, ...] | None
    weight: float = 1.0


class Special(NamedTuple):
    """The tokens that a tokenizer adds, and the one for a comma."""

    start: int
    end: int
    padding: int
    comma: int


#: A token and its weight.
Weighed = tuple[int, float]


def fill_chunks(groups: Iterable[Group], num_tokens: int, special: Special) -> list[list[Weighed]]:
    """Return chunks of exactly `num_tokens`, start and end among them; at least one. No group is longer than what is
    between those two."""
    filling = _Filling(num_tokens - 2, special.comma)
    for group in groups:
        filling.take(group)
    return [_whole(chunk, num_tokens, special) for chunk in filling.end()]


class _Filling:
    """The chunks that are closed, and the one that is being filled."""

    def __init__(self, size: int, comma: int):
        self._size, self._comma = size, comma
        self._closed: list[list[Weighed]] = []
        self._now: list[Weighed] = []
        #: Where the last comma of the present chunk stands; None where it has none.
        self._last_comma: int | None = None

    def take(self, group: Group) -> None:
        """Lay a group where it belongs."""
        if group.ids is None:
            self._close()
            return
        if group.ids == (self._comma,):
            self._last_comma = len(self._now)
        elif self._is_full() and self._last_comma is not None and self._size - self._last_comma <= COMMA_REACH:
            begin = self._last_comma + 1
            moved, self._now = self._now[begin:], self._now[:begin]
            self._close()
            self._now = moved
        if len(self._now) + len(group.ids) > self._size:
            self._close()
        self._now += [(token, group.weight) for token in group.ids]

    def end(self) -> list[list[Weighed]]:
        """Return all chunks; an empty one only where there is no other."""
        if self._now or not self._closed:
            self._close()
        return self._closed

    def _is_full(self) -> bool:
        return len(self._now) == self._size

    def _close(self) -> None:
        self._closed.append(self._now)
        self._now, self._last_comma = [], None


def _whole(tokens: list[Weighed], num_tokens: int, special: Special) -> list[Weighed]:
    """Return a chunk with start, end and padding, which weigh 1."""
    padding = [(special.padding, 1.0)] * (num_tokens - 2 - len(tokens))
    return [(special.start, 1.0), *tokens, (special.end, 1.0), *padding]
