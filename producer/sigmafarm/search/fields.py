"""What can be searched for by name: every setting of a job, its own columns (`id:`, `x_style:`), and what became of it.

Settings come from their fields in settings.py, with all their names. Texts are looked for within, in whatever case;
numbers (7, or 20..30) and words of a few (failed) must be the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sigmafarm_common.own_columns import is_always_kept
from sigmafarm_common.setting_fields import Kind, Place, SettingField
from sigmafarm_common.settings import REQUEST_FIELDS
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Glance

#: Where settings stand that are named where all would be too many.
_IN_SIGHT = (Place.TEXT, Place.SIDE)
#: How the kinds of settings are searched: everything else is a text.
_KINDS = {Kind.WHOLE: Kind.WHOLE, Kind.NUMBER: Kind.NUMBER, Kind.CHOICE: Kind.CHOICE, Kind.SWITCH: Kind.SWITCH}


@dataclass(frozen=True)
class Field:
    """One thing that jobs are searched by."""

    #: What it is called, its shortest name, and all its names.
    name: str
    names: tuple[str, ...]
    kind: Kind
    #: Gives its value of a job, or several; None where it has none.
    value_of: Callable[[Glance], Any]
    #: The words of a CHOICE.
    choices: tuple[str, ...] = ()
    #: Whether it is no setting, but what became of the job.
    is_fate: bool = False


def _fate(name: str, value_of: Callable[[Glance], Any]) -> Field:
    return Field(name, (name,), Kind.TEXT, value_of, is_fate=True)


def _of_setting(field: SettingField) -> Field:
    name = min(field.names, key=len)
    kind = _KINDS.get(field.kind, Kind.TEXT)
    return Field(name, field.names, kind, _setting(field.name), field.choices)


def _setting(name: str) -> Callable[[Glance], Any]:
    return lambda glance: glance.request.get(name)


def _labels(glance: Glance) -> tuple[str, ...]:
    """Return the labels of a job, as `name=value`, and what its row has in the column `label`."""
    said, own = glance.request.get("labels"), _column(glance, "label")
    labels = tuple(f"{name}={value}" for name, value in said.items()) if isinstance(said, Mapping) else ()
    return (*labels, own) if own else labels


def _column(glance: Glance, name: str) -> Any:
    columns = glance.request.get("columns")
    return columns.get(name) if isinstance(columns, Mapping) else None


STATE = Field("state", ("state",), Kind.CHOICE, operator.attrgetter("state"), tuple(JobState))
#: What became of a job, and what it is beside its settings.
_OTHERS = (
    STATE,
    _fate("worker", lambda glance: glance.worker),
    _fate("error", lambda glance: (glance.error_code, glance.error)),
    _fate("warning", lambda glance: glance.warnings),
    Field("rating", ("rating", "rated"), Kind.WHOLE, operator.attrgetter("rating"), is_fate=True),
    Field("row", ("row",), Kind.WHOLE, operator.attrgetter("row")),
    Field("label", ("label",), Kind.TEXT, _labels),
)


@cache
def fields() -> Mapping[str, Field]:
    """Return everything that can be searched for, by each of its names; what is asked for most comes first."""
    settings = [_of_setting(field) for field in REQUEST_FIELDS.values()]
    first = ("prompt", "seed", "steps", "sampler", "model")
    settings.sort(key=lambda field: first.index(field.name) if field.name in first else len(first))
    return {name: field for field in (*_OTHERS, *settings) for name in field.names}


def find_field(name: str) -> Field | None:
    """Return what a name stands for: what all jobs have, or a column of a row's own; None for what is neither."""
    found = fields().get(name.lower().replace("-", "_"))
    if found is None and is_always_kept(name):
        return Field(name, (name,), Kind.TEXT, lambda glance: _column(glance, name))
    return found


def field_names(*, are_all: bool = True) -> list[str]:
    """Return what can be searched for, each by its shortest name: all, or but for settings that forms fold away."""
    folded = {min(each.names, key=len) for each in REQUEST_FIELDS.values() if each.about.place not in _IN_SIGHT}
    names = dict.fromkeys(field.name for field in fields().values())
    return [name for name in names if are_all or name not in folded]
