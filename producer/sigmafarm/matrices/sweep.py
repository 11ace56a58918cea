"""Sweeps: several values for settings, and every row drawn with each combination of them.

The first setting changes slowest. A swept setting's values win over what a row says of it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.setting_fields import Kind, text_of
from sigmafarm_common.settings import SETTING_FIELDS, Settings, setting_like
from sigmafarm_common.validation import shown

#: Settings that a sweep may have, and values of one.
MAX_AXES, MAX_VALUES = 8, 1000
_RANGE = re.compile(r"\s*([0-9]{1,18})\.\.([0-9]{1,18})\s*", re.ASCII)


@dataclass(frozen=True)
class Sweep:
    """Settings with their values, in order."""

    axes: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Sweep:
        """Read values by setting: a list, one value, or a text with commas. Raises InvalidRequest with all bad ones."""
        bad: list[FieldError] = []
        axes: dict[str, tuple[Any, ...]] = {}
        if len(said) > MAX_AXES:
            raise _bad(f"sweep has {len(said)} settings: {MAX_AXES} is the most")
        for name, values in said.items():
            try:
                setting = _setting_named(str(name))
                if setting in axes:
                    raise _bad(f"sweep has {setting} twice: say all its values at once")
                axes[setting] = _values(setting, values)
            except InvalidRequest as error:
                bad += [FieldError("sweep", each.message) for each in error.fields]
        if bad:
            raise InvalidRequest(bad)
        return cls(tuple(axes.items()))

    @classmethod
    def read_texts(cls, texts: Iterable[str]) -> Sweep:
        """Read texts such as `guidance_scale=5,7.5,10` or `seed=1..8`. Raises InvalidRequest."""
        said: list[tuple[str, str]] = []
        for text in texts:
            name, equals, values = text.partition("=")
            if not equals:
                raise _bad(f"sweep is {shown(text)}: must be a setting with its values, such as guidance_scale=5,7.5")
            said.append((name.strip(), values))
        if len({name for name, _ in said}) < len(said):
            raise _bad("sweep has a setting twice: say all its values at once")
        return cls.read(dict(said))

    @property
    def num(self) -> int:
        """How many combinations there are; 1 where nothing is swept."""
        return prod(len(values) for _, values in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.axes)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each combination."""
        for values in product(*(values for _, values in self.axes)):
            yield dict(zip(self.names, values, strict=True))


def text_of_axis(name: str, values: Any) -> str:
    """Return an axis that came in JSON as the text that `read_texts` reads. Raises InvalidRequest."""
    listed = values if isinstance(values, list) else [values]
    if not all(isinstance(each, str | int | float | bool | list) for each in listed):
        raise _bad(f"sweep of {shown(name)} is {shown(values)}: must be a list of values")
    return f"{name}=" + ",".join(_quoted(text_of(each)) for each in listed)


def _setting_named(name: str) -> str:
    for field in SETTING_FIELDS.values():
        if name in field.names or name.replace("-", "_") == field.name:
            return field.name
    near = setting_like(name)
    cure = f"did you mean {near}?" if near in SETTING_FIELDS else f"settings are {', '.join(SETTING_FIELDS)}"
    raise _bad(f"sweep names {shown(name)}, which is no setting of a job: {cure}")


def _values(name: str, said: Any) -> tuple[Any, ...]:
    """Return an axis' values as settings hold them. Raises InvalidRequest."""
    listed = _listed(name, said)
    if not listed:
        raise _bad(f"sweep of {name} has no value: give some, such as {name}=a,b")
    if len(listed) > MAX_VALUES:
        raise _bad(f"sweep of {name} has {len(listed)} values: {MAX_VALUES} is the most")
    try:
        values = tuple(getattr(Settings.parse({name: each}), name) for each in listed)
    except InvalidRequest as error:
        raise InvalidRequest([FieldError("sweep", f"sweep of {bad.message}") for bad in error.fields]) from None
    if None in values:
        raise _bad(f"sweep of {name} has an empty value: leave it out")
    texts = [text_of(each) for each in values]
    if twice := next((text for n, text in enumerate(texts) if text in texts[:n]), None):
        raise _bad(f"sweep of {name} has {shown(twice)} twice: leave one out")
    return values


def _listed(name: str, said: Any) -> Sequence[Any]:
    kind = SETTING_FIELDS[name].kind
    if isinstance(said, str):
        cells = next(csv.reader([said.replace("\n", " ")], skipinitialspace=True), [])
        cells = cells if kind is Kind.TEXT else [cell.strip() for cell in cells if cell.strip()]
        return [value for cell in cells for value in _range_in(name, kind, cell)]
    if isinstance(said, Mapping):
        raise _bad(f"sweep of {name} is {shown(said)}: must be a list of values")
    return list(said) if isinstance(said, Iterable) else [said]


def _range_in(name: str, kind: Kind, cell: str) -> Sequence[Any]:
    """Return the whole numbers of `1..8`; any other cell is itself."""
    match = _RANGE.fullmatch(cell) if kind is Kind.WHOLE else None
    if match is None:
        return [cell]
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < MAX_VALUES:
        raise _bad(f"sweep of {name} is {shown(cell)}: must go up, over {MAX_VALUES} values at most")
    return range(first, last + 1)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in ',"\n') else text


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError("sweep", message)])
