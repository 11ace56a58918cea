"""Columns of somebody's own: what a row of a prompt file says beside its settings, kept with its job as texts by name.

They change no picture and no worker reads them. Whoever submits finds the job again by them: an id of a data set, a
label, whatever begins with `x_`, and what is named to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from sigmafarm_common.setting_fields import text_of

#: Columns that a job may have, the characters of a name, of a value, and of all of them together.
MAX_COLUMNS, MAX_COLUMN_NAME_CHARS, MAX_COLUMN_CHARS, MAX_COLUMNS_CHARS = 32, 60, 1000, 4096
#: Columns that are kept without being named, and how further ones begin.
ALWAYS_KEPT, OWN_PREFIX = frozenset({"id", "label"}), "x_"


def is_always_kept(name: str) -> bool:
    """Whether a column is kept without being named."""
    return name in ALWAYS_KEPT or (name.startswith(OWN_PREFIX) and len(name) > len(OWN_PREFIX))


def read_columns(said: Any) -> Any:
    """Return columns as texts by name, without empty ones: numbers and truths as cells say them. None for none."""
    if said is None:
        return None
    if not isinstance(said, Mapping):
        raise _bad("must be texts by name")
    if len(said) > MAX_COLUMNS:
        raise _bad("a job keeps {most} columns at most: keep fewer", most=MAX_COLUMNS)
    columns = {str(name): _text_in(str(name), value) for name, value in said.items() if not _is_empty(value)}
    if (num := sum(len(name) + len(text) for name, text in columns.items())) > MAX_COLUMNS_CHARS:
        raise _bad(
            "they have {num} characters together, {most} is the most of a job: keep fewer, or shorter ones",
            num=num,
            most=MAX_COLUMNS_CHARS,
        )
    return columns or None


def _text_in(name: str, value: Any) -> str:
    if not name or len(name) > MAX_COLUMN_NAME_CHARS:
        raise _bad("a name has 1 to {most} characters", most=MAX_COLUMN_NAME_CHARS)
    if not isinstance(value, str | int | float) and getattr(value, "shape", None) != ():  # numpy's numbers have ()
        raise _bad("{name} must be a text, a number or a truth value", name=name)
    text = value.strip() if isinstance(value, str) else text_of(value)
    if len(text) > MAX_COLUMN_CHARS:
        said = "{name} has {num} characters, {most} is the most of a column: keep a shorter one, such as an id"
        raise _bad(said, name=name, num=len(text), most=MAX_COLUMN_CHARS)
    return text


def _is_empty(value: Any) -> bool:
    """Whether a column says nothing: tables have NaN where a number is missing."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and isnan(value))


def _bad(message: str, **about: Any) -> PydanticCustomError:
    return PydanticCustomError("columns", message, about)  # pyright: ignore[reportArgumentType]


ColumnsSetting = Annotated[
    dict[str, str] | None,
    BeforeValidator(read_columns),
    Field(
        description="Columns of the submitter's own, by name: id, label, x_... and those that were named to be kept. "
        "They change no picture.",
    ),
]
LineSetting = Annotated[
    int | None,
    Field(ge=1, description="The line of the file that it came from, or the place in the list, from 1."),
]
