"""Turns pydantic's findings into the house's sentences: what, the value, the cure."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sigmafarm_common.errors import FieldError

#: Longest piece of a bad value that a message repeats.
MAX_SHOWN_CHARS = 60
#: Names that an object may have: more are refused before one of them is looked at.
MAX_NAMES = 64


def field_errors(
    error: ValidationError,
    like: Callable[[str], str | None] | None = None,
    how_to_keep: Callable[[str], str] | None = None,
) -> list[FieldError]:
    """Return one FieldError per bad field of a pydantic error, in the order of the fields. `like` tells the name that
    was meant by one that nobody knows, `how_to_keep` how it is kept beside the settings, where that can be."""
    found: dict[str, FieldError] = {}
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0]) if detail["loc"] else "request"
        is_strange = detail["type"] == "extra_forbidden"
        meant = like(name) if like and is_strange else None
        said = sentence(name, detail, meant)
        if is_strange and how_to_keep:
            said += f" ({how_to_keep(name)})"
        found.setdefault(name, FieldError(name, said))
    return list(found.values())


def too_many_names(said: Collection[str]) -> FieldError | None:
    """Return what is wrong with an object that has more names than any that we know, None for all others."""
    if len(said) <= MAX_NAMES:
        return None
    return FieldError("names", f"the object has more than {MAX_NAMES} names: the README lists those that there are")


def sentence(name: str, detail: ErrorDetails, meant: str | None = None) -> str:
    """Return the sentence for one of pydantic's findings about a field of that name; `meant` is what a name that
    nobody knows may stand for."""
    kind, value = detail["type"], detail.get("input")
    if kind == "missing":
        return f"{name} is missing: give one"
    if kind == "extra_forbidden" and meant:
        return f"{name} is no setting of a job: did you mean {meant}?"
    if kind == "extra_forbidden":
        return f"{name} is no setting of a job: leave it out, or see the README for the names"
    return f"{name} is {shown(value)}: {_cure(name, detail)}"


def _cure(name: str, detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if name in ("height", "width") and kind in ("multiple_of", "greater_than_equal", "less_than_equal"):
        return _size_cure(detail.get("input"))
    bounds = {
        "greater_than_equal": lambda: f"must be at least {_plain(context['ge'])}",
        "less_than_equal": lambda: f"must be at most {_plain(context['le'])}",
        "greater_than": lambda: f"must be above {_plain(context['gt'])}",
        "multiple_of": lambda: f"must be a multiple of {_plain(context['multiple_of'])}",
        "less_than": lambda: f"must be below {_plain(context['lt'])}",
        "string_too_long": lambda: f"must have at most {context['max_length']} characters",
        "string_pattern_mismatch": lambda: "must be letters, digits, dot, dash or underscore, 64 at most",
        "finite_number": lambda: "must be a finite number",
        "enum": lambda: f"must be {context['expected']}",
        "string_unicode": lambda: "must be valid Unicode text",
    }
    if kind in bounds:
        return bounds[kind]()
    if kind.startswith(("int_", "float_", "bool_", "string_")):
        word = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text"}
        return f"must be {word[kind.split('_')[0]]}{_how_to_write(kind, detail.get('input'))}"
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _how_to_write(kind: str, value: Any) -> str:
    """Return how a number is written that came as spreadsheets, or people elsewhere, write it."""
    text = value.strip() if isinstance(value, str) and len(value) < MAX_SHOWN_CHARS else ""
    if kind == "float_parsing" and re.fullmatch(r"[+-]?\d*,\d+", text):
        return f", with a point: {text.replace(',', '.')}"
    if kind != "int_parsing":
        return ""
    if re.fullmatch(r"[+-]?\d+([.,]\d+)?e[+-]?\d+", text, re.IGNORECASE):
        return ", with all its digits: a spreadsheet shortens long ones unless the column is text"
    if re.fullmatch(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+", text):
        return ", with nothing between its digits"
    return f": {int(text, 16)}" if re.fullmatch(r"0x[0-9a-f]+", text, re.IGNORECASE) else ""


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _size_cure(value: Any) -> str:
    rule = "must be a multiple of 8 between 64 and 2048"
    try:
        near = _nearest(int(value))  # CSV cells are texts
    except (TypeError, ValueError, OverflowError):
        return rule
    return f"{rule}; nearest {' or '.join(str(n) for n in near)}"


def _nearest(value: int) -> Iterable[int]:
    if value <= 64:
        return (64,)
    if value >= 2048:
        return (2048,)
    return (value // 8 * 8, value // 8 * 8 + 8)


def shown(value: Any) -> str:
    """Return a value as a message repeats it: short, quoted when it is text, without control characters. However
    large or deep the value is, little work is done."""
    if isinstance(value, str):
        text = repr(value[: MAX_SHOWN_CHARS + 1])
    elif isinstance(value, dict | list | tuple | set | frozenset | bytes):
        text = _SHORT.repr(value)
    else:
        text = _plainly(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."


def _plainly(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no number of thousands of digits
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__


def _short() -> reprlib.Repr:
    """Return what shows the beginning of lists and objects, two deep."""
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxtuple, short.maxdict, short.maxset = 2, 4, 4, 4, 4
    return short


_SHORT = _short()
