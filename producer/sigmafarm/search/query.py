"""The words of a search: `zebra`, `"red fox"`, `seed:7`, `steps:20..30`, `state:failed`. A job is found by all of them.

A word alone, or a phrase in quotes, is looked for in prompts. What begins with a name and a colon must be one that
there is; a text that holds a colon itself is put in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sigmafarm.search.fields import STATE, Field, field_names, fields, find_field
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.samplers import find_sampler
from sigmafarm_common.setting_fields import Kind
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Glance
from sigmafarm_common.validation import shown

#: Longest search, in characters.
MAX_SEARCH_CHARS = 200
#: A name with its colon, if there is one, and a phrase in quotes (the last may lack its end), or a word.
_WORD = re.compile(r'(?:([A-Za-z][A-Za-z0-9_-]*):)?(?:"([^"]*)(?:"|$)|([^\s"]\S*)|(?=\s|$))')
#: Two numbers, either of which may be left out.
_RANGE = re.compile(r"(-?\d*\.?\d*)\.\.(-?\d*\.?\d*)")
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Condition:
    """What a job must be to be found."""

    field: Field
    #: As it was said.
    said: str
    #: A text that it holds, in lower case.
    text: str = ""
    #: The numbers between which it is, both included; the same twice for one number.
    least: float = float("-inf")
    most: float = float("inf")
    #: What it is.
    value: object = None

    def is_met(self, glance: Glance) -> bool:
        """Whether a job is so."""
        found = self.field.value_of(glance)
        if self.field.kind is Kind.TEXT:
            values: Iterable[object] = found if isinstance(found, tuple) else (found,)
            return any(isinstance(each, str) and self.text in each.casefold() for each in values)
        if self.field.kind in (Kind.WHOLE, Kind.NUMBER):
            return isinstance(found, int | float) and self.least <= found <= self.most
        return found == self.value

    @property
    def words(self) -> str:
        """What it says of a job: `seed 7`, `steps 20 to 30`."""
        return f"{self.field.name} {self.said.replace('..', ' to ').strip()}"


@dataclass(frozen=True)
class Query:
    """A search, read: the conditions that jobs must meet, all of them."""

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Query:
        """Read a search. Raises InvalidRequest for a name that is none, with those that there are, and for a value."""
        return cls(tuple(_condition(name, value) for name, value in _parts(text)))

    def matches(self, glance: Glance) -> bool:
        """Whether a job meets every condition."""
        return all(condition.is_met(glance) for condition in self.conditions)

    @property
    def texts(self) -> list[str]:
        """What prompts must hold."""
        return [each.said for each in self.conditions if each.field.name == "prompt"]

    @property
    def others(self) -> list[Condition]:
        """What is asked beside that."""
        return [each for each in self.conditions if each.field.name != "prompt"]

    @property
    def states(self) -> frozenset[JobState] | None:
        """The states that it asks for, which an index answers; None where it asks for none."""
        asked = [frozenset({JobState(each.value)}) for each in self.conditions if each.field is STATE]
        return frozenset.intersection(*asked) if asked else None

    @property
    def has_request(self) -> bool:
        """Whether it asks for settings."""
        return any(not each.field.is_fate and each.field.name not in ("state", "row") for each in self.conditions)

    @property
    def has_fate(self) -> bool:
        """Whether it asks for what became of jobs, beside their state."""
        return any(each.field.is_fate for each in self.conditions)

    @property
    def is_by_state_only(self) -> bool:
        return all(each.field is STATE for each in self.conditions)


def _parts(text: str) -> list[tuple[str, str]]:
    """Return the names (empty for none) and the values of a search, in order."""
    parts: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _WORD.match(text, place)
        name, phrase, word = match.groups() if match else ("", None, text[place])
        value = phrase if phrase is not None else word or ""
        place = match.end() if match and match.end() > place else place + 1
        if name or value.strip():
            parts.append((name or "", value))
    return parts


def _condition(name: str, value: str) -> Condition:
    if not name:
        return Condition(fields()["prompt"], value, value.casefold())
    field = find_field(name)
    if field is None:
        raise _no_field(name, value)
    if not value.strip():
        raise _refused(f"{name}: says no value; such as {_example(field)}")
    if field.kind in (Kind.WHOLE, Kind.NUMBER):
        return _number(field, value)
    if field.kind is Kind.SWITCH:
        return Condition(field, value, value=_one_of(field, value.lower(), tuple(_TRUTHS), _TRUTHS.get(value.lower())))
    if field.kind is Kind.CHOICE:
        return Condition(field, value, value=_one_of(field, value, field.choices, _choice(field, value)))
    return Condition(field, value, value.casefold())


def _number(field: Field, value: str) -> Condition:
    match = _RANGE.fullmatch(value)
    ends = match.groups() if match else (value, value)
    try:
        least, most = (_end(each) for each in ends)
    except ValueError:
        raise _refused(f"{field.name}:{shown(value)}: must be a number, or two: {_example(field)}") from None
    return Condition(
        field, value, least=float("-inf") if least is None else least, most=float("inf") if most is None else most
    )


def _end(text: str) -> float | None:
    """Return a number; a whole one exactly, however large."""
    if not text:
        return None
    return float(text) if "." in text else int(text)


def _choice(field: Field, value: str) -> str | None:
    if field.name == "sampler" and (found := find_sampler(value)):
        return found.name
    return next((each for each in field.choices if each == value.lower()), None)


def _one_of(field: Field, value: str, choices: Sequence[str], found: object) -> object:
    if found is None:
        raise _refused(f"{field.name}:{shown(value)}: must be one of {', '.join(choices)}")
    return found


def _example(field: Field) -> str:
    if field.kind in (Kind.WHOLE, Kind.NUMBER):
        return f"{field.name}:7 or {field.name}:20..30"
    return f"{field.name}:{field.choices[0] if field.choices else 'word'}"


def _no_field(name: str, value: str) -> InvalidRequest:
    there = ", ".join(f"{each}:" for each in field_names(are_all=False))
    said = f"search asks for {shown(f'{name}:{value}')}, but nothing is called {shown(name)}"
    cure = f"there are {there} and other settings by name; a text with a colon stands in quotes"
    return InvalidRequest([FieldError("search", f'{said}: {cure}: "{name}:{value}"')])


def _refused(sentence: str) -> InvalidRequest:
    return InvalidRequest([FieldError("search", f"search has {sentence}")])
