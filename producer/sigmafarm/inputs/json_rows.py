"""Rows in JSON: one a line, or the entries of one array."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sigmafarm.items import InputRow, Written
from sigmafarm.kept_columns import KeptColumns
from sigmafarm_common.errors import UnreadableInput

#: A JSON array is in memory whole: longer lists come as JSON lines.
MAX_JSON_BYTES = 64 << 20
#: What the standard library says of several values in one text.
_SEVERAL = "Extra data"


def jsonl_rows(_name: str, lines: Iterable[str], _kept: KeptColumns) -> Iterator[InputRow]:
    """Yield the rows of lines; what is wrong with one travels with it."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _json_row(number, line.rstrip())


def _json_row(number: int, line: str) -> InputRow:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        said = f"the line is no JSON ({json_problem(error)}): write one object a line"
        return InputRow.bad(number, said, Written(("prompt",), (line,)))
    return _row_of_value(number, value, "line", "one object a line")


def json_rows(name: str, lines: Iterable[str], _kept: KeptColumns) -> Iterator[InputRow]:
    """Yield the entries of an array. Raises UnreadableInput for what is none."""
    text, size = list[str](), 0
    for line in lines:
        text.append(line)
        size += len(line)
        if size > MAX_JSON_BYTES:
            raise UnreadableInput(f"{name} has more than {MAX_JSON_BYTES} characters: write JSON lines (.jsonl)")
    try:
        values = json.loads("".join(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableInput(f"{name} is no JSON ({json_problem(error)}): {_json_cure(error)}") from None
    if not isinstance(values, list):
        raise UnreadableInput(f"{name} is {_kind(values)}: write an array of texts or objects")
    for number, value in enumerate(values, start=1):
        yield _row_of_value(number, value, "entry", "a text or an object")


def _row_of_value(number: int, value: Any, what: str, cure: str) -> InputRow:
    if isinstance(value, str):
        return InputRow(number, {"prompt": value}, written=Written(("prompt",), (value,)))
    if not isinstance(value, dict):
        said = f"the {what} is {_kind(value)}: write {cure}"
        return InputRow.bad(number, said, Written(("prompt",), (json.dumps(value),)))
    return InputRow(number, value, written=Written((*value,), (*value.values(),)))


def _json_cure(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError) and error.msg == _SEVERAL:
        return "write an array of texts or objects, or say --format jsonl where each line is one"
    return "write an array of texts or objects, in double quotes, without comments or a comma behind the last"


def json_problem(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a text that the standard library does not take for JSON."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if not isinstance(error, json.JSONDecodeError):
        return "a number in it has thousands of digits"
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"{error.msg.removesuffix(' at')} at {line}column {error.colno}"


def _kind(value: object) -> str:
    return _JSON_NAMES.get(type(value), "a value")


_JSON_NAMES: Mapping[type, str] = {
    str: "a text",
    dict: "an object",
    list: "a list",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "a null",
}
