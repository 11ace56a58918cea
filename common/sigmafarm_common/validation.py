"""Turns pydantic's findings into the house's sentences: what, the value, the cure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sigmafarm_common.errors import FieldError

#: Longest piece of a bad value that a message repeats.
MAX_SHOWN_CHARS = 60


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return one FieldError per bad field of a pydantic error, in the order of the fields."""
    found: dict[str, FieldError] = {}
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0]) if detail["loc"] else "request"
        found.setdefault(name, FieldError(name, sentence(name, detail)))
    return list(found.values())


def sentence(name: str, detail: ErrorDetails) -> str:
    """Return the sentence for one of pydantic's findings about a field of that name."""
    kind, value = detail["type"], detail.get("input")
    if kind == "missing":
        return f"{name} is missing: give one"
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
        return f"must be {word[kind.split('_')[0]]}"
    return detail["msg"][:1].lower() + detail["msg"][1:]


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
    """Return a value as a message repeats it: short, quoted when it is text, without control characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."
