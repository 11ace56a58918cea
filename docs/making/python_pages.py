"""The page of the Python package: its public names with their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel

import sigmafarm
from docs.making.tables import table

#: Models whose fields the page of the settings of a job has.
_TOLD_ELSEWHERE = ("Settings", "RenderRequest", "Config")
_FIELD = re.compile(r"^    (\w+)\s*[:=]")
_COMMENT = re.compile(r"^    #: ?(.*)")


def python_page() -> str:
    """Return the page."""
    names: dict[str, Any] = {name: getattr(sigmafarm, name) for name in sigmafarm.__all__}
    errors = {name for name, found in names.items() if issubclass(found, Exception)}
    data = {name for name in names if _is_data(names[name])} - errors
    parts = [
        "# Python package",
        "`from sigmafarm import ...`: these names stay; everything else may change. How to begin stands under "
        "[From Python](../python.md).",
    ]
    groups = (("What acts", set(names) - errors - data), ("What is told", data), ("Errors", errors))
    for title, group in groups:
        parts.append(f"## {title}")
        for name in sorted(group):
            parts += _name(name, names[name])
    return "\n\n".join(parts) + "\n"


def _is_data(found: Any) -> bool:
    return issubclass(found, BaseModel | Enum) or dataclasses.is_dataclass(found)


def _name(name: str, found: Any) -> Iterator[str]:
    yield f"### {name}"
    yield _docstring(found)
    if issubclass(found, Enum):
        said = _comments(found)
        yield table(("value", "what"), [(f"`{each.value}`", said.get(each.name, "")) for each in found])
    elif name in _TOLD_ELSEWHERE:
        page = "farm-settings" if name == "Config" else "job-settings"
        yield f"Its fields: [the table](index.md#{page})."
    elif _is_data(found):
        yield _fields(found)
    if not issubclass(found, Enum | Exception):
        for method, function in _methods(found):
            yield f"#### {name}.{method}"
            if function is not None:
                yield f"```python\n{_signature(method, function)}\n```"
            yield _docstring(getattr(found, method) if function is not None else inspect.getattr_static(found, method))


def _fields(found: Any) -> str:
    """Return the fields of a record, with the comments that stand over them or their descriptions."""
    said, rows = _comments(found), list[tuple[str, str, str]]()
    described = {name: field.description or "" for name, field in getattr(found, "model_fields", {}).items()}
    names = described or {field.name: "" for field in dataclasses.fields(found)}
    kinds: dict[str, str] = {}
    for kind in reversed(found.__mro__):
        kinds |= getattr(kind, "__annotations__", {})
    for name in names:
        rows.append((f"`{name}`", f"`{kinds.get(name, '')}`", described.get(name) or said.get(name, "")))
    return table(("field", "type", "what"), rows)


def _methods(found: Any) -> Iterator[tuple[str, Any]]:
    """Yield the public methods that a class has of ours, in the order of its source; None for a property."""
    for name, member in vars(found).items():
        if name.startswith("_") or not getattr(_function(member), "__doc__", None):
            continue
        if isinstance(member, property):
            yield name, None
        elif callable(_function(member)):
            yield name, _function(member)


def _function(member: Any) -> Any:
    return member.__func__ if isinstance(member, classmethod | staticmethod) else member


def _signature(name: str, function: Any) -> str:
    """Return a signature as its source has it: annotations are texts."""
    said = inspect.signature(function)
    arguments = list[str]()
    for each in said.parameters.values():
        if each.name in ("self", "cls"):
            continue
        if each.kind is each.KEYWORD_ONLY and not any(word.startswith("*") for word in arguments):
            arguments.append("*")
        star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        default = (
            "" if each.default is each.empty else f" = {'...' if '<' in repr(each.default) else repr(each.default)}"
        )
        arguments.append(f"{star}{each.name}: {each.annotation}{default}")
    answer = f" -> {said.return_annotation}"
    whole = f"{name}({', '.join(arguments)}){answer}"
    if len(whole) <= 100:
        return whole
    return f"{name}(\n    " + ",\n    ".join(arguments) + f",\n){answer}"


def _docstring(found: Any) -> str:
    return inspect.cleandoc(inspect.getdoc(found) or "")


def _comments(found: Any) -> dict[str, str]:
    """Return the `#:` lines over the fields of a class, and of those that it is made of."""
    said: dict[str, str] = {}
    for kind in reversed(found.__mro__):
        if not kind.__module__.startswith("sigmafarm"):
            continue
        lines: list[str] = []
        for line in inspect.getsource(kind).splitlines():
            if comment := _COMMENT.match(line):
                lines.append(comment[1])
                continue
            if lines and (field := _FIELD.match(line)):
                said[field[1]] = " ".join(lines)
            lines = []
    return said
