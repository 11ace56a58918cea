"""Reads prompt files from a file or stdin, a row at a time.

What is wrong with one row travels with the row, so that all bad rows can be told together with their line numbers. What
makes the whole file unreadable (no such file, no text, a column that is no setting) raises UnreadableInput.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from sigmafarm.inputs.command_lines import is_command_line, row_of_command_line
from sigmafarm.inputs.formats import InputFormat, format_of_name
from sigmafarm.inputs.lines import MAX_LINE_BYTES, lines_of
from sigmafarm.inputs.tables import DELIMITERS, SEPARATOR, is_header_of, table_rows
from sigmafarm.items import InputRow
from sigmafarm_common.errors import UnreadableInput
from sigmafarm_common.picture_inputs import is_picture_name
from sigmafarm_common.settings import PICTURE_FIELDS

__all__ = ["MAX_LINE_BYTES", "STDIN", "parse_rows", "read_rows"]

#: The name that stands for stdin.
STDIN = "-"
#: How JSON begins: with one object a line, or as an array.
_JSON_BEGIN = re.compile(r'(?P<jsonl>\{\s*"[^"]*"\s*:.*\}$)|\[\s*($|"|\]|\{\s*("|$))|\{\s*($|"|\})')
#: A JSON array is in memory whole: longer lists come as JSON lines.
MAX_JSON_BYTES = 64 << 20


def read_rows(
    path: str, input_format: InputFormat | None = None, *, stdin: BinaryIO | None = None
) -> Iterator[InputRow]:
    """Open a file (or stdin, for `-`) at once and return its rows; they are read as they are asked for.

    The format follows from the name unless it is said; stdin is text unless it is said. Stdin is read to its end first:
    a slow writer must not hold a half-written batch open. Paths of pictures count from the file's folder. Raises
    UnreadableInput, here or while the rows are read.
    """
    if path == STDIN:
        return parse_rows("stdin", input_format, (stdin or sys.stdin.buffer).readlines())
    file = _open(Path(path))
    try:
        known = input_format or format_of_name(path)
    except UnreadableInput:
        file.close()
        raise
    return (_anchored(row, Path(path).parent) for row in _rows_of_file(path, known, file))


def parse_rows(name: str, input_format: InputFormat | None, source: Iterable[bytes]) -> Iterator[InputRow]:
    """Return the rows of a file, or of pieces that are at hand already; `name` stands in errors. They are read as they
    are asked for. Without a format it is text, unless its first line looks like another one.

    Raises UnreadableInput while the rows are read.
    """
    lines = lines_of(name, source)
    return _guessed_rows(name, lines) if input_format is None else _READERS[input_format](name, lines)


def _rows_of_file(name: str, input_format: InputFormat | None, file: BinaryIO) -> Iterator[InputRow]:
    with file:
        yield from parse_rows(name, input_format, file)


def _anchored(row: InputRow, folder: Path) -> InputRow:
    """Return a row with the paths of its pictures counted from a folder."""
    paths = {name: row.data[name] for name in PICTURE_FIELDS if isinstance(row.data.get(name), str)}
    found = {name: str(folder / text) for name, text in paths.items() if not is_picture_name(text)}
    return InputRow(row.number, {**row.data, **found}, row.errors) if found else row


def _open(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        return path.open("rb")
    except OSError as error:
        raise UnreadableInput(f"prompt file {path} cannot be read: {error.strerror}; check the path") from None


def _guessed_rows(name: str, lines: Iterator[str]) -> Iterator[InputRow]:
    """Yield the rows of text that nobody called text. Raises UnreadableInput where it looks like something else."""
    first = next(lines, "")
    begin = first.strip()
    if looks_like := _look_of(begin):
        raise UnreadableInput(
            f"{name} line 1 is {begin[:60]!r}, which looks like {looks_like} and not like a prompt: say --format "
            f"{looks_like}, or --format text (in a form: its format) to draw every line as a prompt"
        )
    return _text_rows(name, chain([first], lines))


def _look_of(line: str) -> InputFormat | None:
    """Return the format that a file's first line looks like, None for a prompt: {a|b}, [less] and [[less]] are such."""
    if found := _JSON_BEGIN.match(line):
        return InputFormat.JSONL if found["jsonl"] else InputFormat.JSON
    is_header = any(each in line and is_header_of(line, each) for each in DELIMITERS) or line.lower() == "prompt"
    is_table = is_header or line.lower().startswith(SEPARATOR)
    return InputFormat.CSV if is_table else None


def _text_rows(_name: str, lines: Iterable[str]) -> Iterator[InputRow]:
    for number, line in enumerate(lines, start=1):
        prompt = line.strip()
        if prompt and is_command_line(prompt):
            yield row_of_command_line(number, prompt)
        elif prompt:
            yield InputRow(number, {"prompt": prompt})


def _jsonl_rows(_name: str, lines: Iterable[str]) -> Iterator[InputRow]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> InputRow:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return InputRow.bad(number, f"the line is no JSON ({_problem(error)}): write one object a line")
    return _row_of_value(number, value, "line", "one object a line")


def _json_rows(name: str, lines: Iterable[str]) -> Iterator[InputRow]:
    text, size = list[str](), 0
    for line in lines:
        text.append(line)
        size += len(line)
        if size > MAX_JSON_BYTES:
            raise UnreadableInput(f"{name} has more than {MAX_JSON_BYTES} characters: write JSON lines (.jsonl)")
    try:
        values = json.loads("".join(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableInput(f"{name} is no JSON ({_problem(error)}): write an array of texts or objects") from None
    if not isinstance(values, list):
        raise UnreadableInput(f"{name} is {_kind(values)}: write an array of texts or objects")
    for number, value in enumerate(values, start=1):
        yield _row_of_value(number, value, "entry", "a text or an object")


def _row_of_value(number: int, value: Any, what: str, cure: str) -> InputRow:
    if isinstance(value, str):
        return InputRow(number, {"prompt": value})
    if not isinstance(value, dict):
        return InputRow.bad(number, f"the {what} is {_kind(value)}: write {cure}")
    return InputRow(number, value)


def _problem(error: ValueError | RecursionError) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"{error.msg} at {line}column {error.colno}"


def _tsv_rows(name: str, lines: Iterator[str]) -> Iterator[InputRow]:
    return table_rows(name, lines, "\t")


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
_READERS: Mapping[InputFormat, Callable[[str, Generator[str]], Iterator[InputRow]]] = {
    InputFormat.TEXT: _text_rows,
    InputFormat.JSONL: _jsonl_rows,
    InputFormat.JSON: _json_rows,
    InputFormat.CSV: table_rows,
    InputFormat.TSV: _tsv_rows,
}
