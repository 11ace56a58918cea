r"""AUTOMATIC1111's syntax of prompts: which words weigh how much, and where a new part begins.

    (word)        1.1 times as much, ((word)) 1.21 times
    [word]        1.1 times less
    (word:1.3)    1.3 times as much
    \( \) \[ \]   plain brackets, \\ a plain backslash
    BREAK         what follows stands in the next part

Weights of nested brackets are multiplied. A bracket that nobody closes holds to the end of the prompt; one that nobody
opened is a plain character. Prompt editing (`[from:to:when]`), `AND` and `<lora:...>` are not known here: the first is
read as a weight, the others as words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: What a pair of round brackets multiplies a weight by, and a pair of square ones divides it by.
BRACKET = 1.1
_PIECE = re.compile(
    r"\\(?P<plain>[()\[\]\\])|(?P<lone>\\)|(?P<open>[(\[])|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)"
    r"|(?P<close>[)\]])|(?P<text>[^\\()\[\]:]+|:)"
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


@dataclass
class Passage:
    """A run of text that weighs alike; `text` is None where a new part begins."""

    text: str | None
    weight: float = 1.0


def read_weights(prompt: str) -> list[Passage]:
    """Return a prompt's passages in order; at least one, be it empty."""
    found = list[Passage]()
    #: The passages that brackets which are still open began with, by kind.
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for match in _PIECE.finditer(prompt):
        kind, said = match.lastgroup, match[0]
        pair = "[" if said == "]" else "("
        if kind == "open":
            opened[said].append(len(found))
        elif kind == "weight" and opened["("]:
            _multiply(found[opened["("].pop() :], float(match["weight"]))
        elif kind == "close" and opened[pair]:
            _multiply(found[opened[pair].pop() :], _factor(said))
        elif kind == "plain":
            found.append(Passage(match["plain"]))
        elif kind != "lone":
            found += _with_breaks(said)
    for bracket, begins in opened.items():
        for begin in begins:
            _multiply(found[begin:], _factor(bracket))
    return _merged(found) or [Passage("")]


def _factor(bracket: str) -> float:
    return BRACKET if bracket in "()" else 1 / BRACKET


def _multiply(passages: list[Passage], factor: float) -> None:
    for passage in passages:
        passage.weight *= factor


def _with_breaks(text: str) -> Iterator[Passage]:
    for n, part in enumerate(_BREAK.split(text)):
        if n:
            yield Passage(None)
        yield Passage(part)


def _merged(passages: list[Passage]) -> list[Passage]:
    """Return passages with neighbours of one weight as one, so that words are read as they were written."""
    merged: list[Passage] = []
    for each in passages:
        last = merged[-1] if merged else None
        if last and last.text is not None and each.text is not None and last.weight == each.weight:
            last.text += each.text
        else:
            merged.append(Passage(each.text, each.weight))
    return merged
