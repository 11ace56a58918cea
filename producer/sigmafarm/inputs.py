"""Reads prompt files: lines of text, JSON lines or CSV, from a file or stdin, a row at a time.

What is wrong with one row travels with the row, so that all bad rows can be told together with their line numbers. What
makes the whole file unreadable (no such file, not UTF-8, a column that is no setting) raises UnreadableInput.
"""

from __future__ import annotations

import csv
import difflib
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from sigmafarm.submission import InputRow
from sigmafarm_common.errors import FieldError, UnreadableInput
from sigmafarm_common.picture_inputs import is_picture_name
from sigmafarm_common.settings import PICTURE_FIELDS, REQUEST_FIELDS

#: The name that stands for stdin.
STDIN = "-"
#: Longest line of a file, and row of a CSV, which may have several: a prompt and its negative one, both escaped, have
#: room. What reads a line needs memory for one.
MAX_LINE_BYTES = 1 << 20
#: The columns that a CSV, and the fields that a JSON line, may have.
COLUMNS = tuple(REQUEST_FIELDS)


class InputFormat(StrEnum):
    """How prompts are written in a file."""

    #: One prompt a line; blank lines count as nothing.
    TEXT = "text"
    #: One JSON object a line, with our field names; or a JSON string, which is a prompt.
    JSONL = "jsonl"
    #: A header of our field names, a row a line; an empty cell says nothing.
    CSV = "csv"


#: The format that a file's name tells; any other is text.
FORMATS: Mapping[str, InputFormat] = {
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".csv": InputFormat.CSV,
}


def read_rows(
    path: str, input_format: InputFormat | None = None, *, stdin: BinaryIO | None = None
) -> Iterator[InputRow]:
    """Open a file (or stdin, for `-`) at once and return its rows; they are read as they are asked for.

    The format follows from the name unless it is said; stdin is text unless it is said. Stdin is read to its end first:
    a slow writer must not hold a half-written batch open. Paths of pictures count from the file's folder. Raises
    UnreadableInput, here or while the rows are read.
    """
    name = "stdin" if path == STDIN else path
    input_format = input_format or FORMATS.get(Path(path).suffix.lower(), InputFormat.TEXT)
    if path == STDIN:
        return parse_rows(name, input_format, (stdin or sys.stdin.buffer).readlines())
    rows = _rows_of_file(name, input_format, _open(Path(path)))
    return (_anchored(row, Path(path).parent) for row in rows)


def parse_rows(name: str, input_format: InputFormat, lines: Iterable[bytes]) -> Iterator[InputRow]:
    """Return the rows of lines that are at hand already; `name` stands in errors. They are read as they are asked for.

    Raises UnreadableInput while the rows are read.
    """
    return _READERS[input_format](name, _decode(name, _pieces(lines)))


def _rows_of_file(name: str, input_format: InputFormat, file: BinaryIO) -> Iterator[InputRow]:
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


def _pieces(lines: Iterable[bytes]) -> Iterable[bytes]:
    """Return the lines, of a file so that no one is ever read whole that is too long."""
    read: Callable[[int], bytes] | None = getattr(lines, "readline", None)
    return lines if read is None else iter(lambda: read(MAX_LINE_BYTES + 1), b"")


def _decode(name: str, lines: Iterable[bytes]) -> Generator[str]:
    """Yield the lines as text; a byte order mark at the start is left out."""
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE_BYTES:
            raise UnreadableInput(f"{name} line {number} has more than {MAX_LINE_BYTES} bytes: no row is so long")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
            raise UnreadableInput(f"{name} line {number} is no UTF-8 ({byte}): save the file as UTF-8") from None


def _text_rows(_name: str, lines: Iterable[str]) -> Iterator[InputRow]:
    for number, line in enumerate(lines, start=1):
        if prompt := line.strip():
            yield InputRow(number, {"prompt": prompt})


def _json_rows(_name: str, lines: Iterable[str]) -> Iterator[InputRow]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> InputRow:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        said = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return _bad(number, f"the line is no JSON ({said}): write one object a line")
    if isinstance(value, str):
        return InputRow(number, {"prompt": value})
    if not isinstance(value, dict):
        return _bad(number, f"the line is a {_JSON_NAMES.get(type(value), 'value')}: write one object a line")
    return InputRow(number, value)


def _csv_rows(name: str, lines: Generator[str]) -> Iterator[InputRow]:
    record = _Record(name, lines)
    reader = csv.reader(record, strict=True, skipinitialspace=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            record.num_chars = 0
            if cells and not header:
                header = _check_header(name, [cell.strip() for cell in cells])
            elif cells:
                yield _csv_row(start, header, cells)
            start = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableInput(f"{name} line {reader.line_num} is no CSV ({error}): check its quotes") from None
    if not header:
        raise UnreadableInput(f"{name} is empty: a CSV begins with a header, such as prompt,seed")


class _Record:
    """The lines of a CSV, counted since the last row: a quoted cell may have many."""

    def __init__(self, name: str, lines: Iterator[str]):
        self._name, self._lines = name, lines
        self.num_chars = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.num_chars += len(line)
        if self.num_chars > MAX_LINE_BYTES:
            raise UnreadableInput(
                f"{self._name} has a row of more than {MAX_LINE_BYTES} characters: check its quotes for one that is "
                "never closed"
            )
        return line


def _check_header(name: str, header: list[str]) -> list[str]:
    for column in header:
        if column not in COLUMNS:
            near = _column_like(column[:60])
            cure = f"did you mean {near}?" if near else f"columns are {', '.join(COLUMNS)}"
            raise UnreadableInput(f"{name} line 1: column {column[:60]!r} is no setting of a job: {cure}")
    if twice := next((column for column in header if header.count(column) > 1), None):
        raise UnreadableInput(f"{name} line 1: column {twice!r} stands there twice: leave one out")
    if "prompt" not in header:
        raise UnreadableInput(f"{name} line 1: there is no column prompt among {', '.join(header)}: add it")
    return header


def _column_like(column: str) -> str | None:
    """Return the column that was meant: one of another name for it, or of a name that is written much like it."""
    meant = next((field.name for field in REQUEST_FIELDS.values() if column in (*field.names, field.a1111)), None)
    return meant or next(iter(difflib.get_close_matches(column, COLUMNS, n=1)), None)


def _csv_row(number: int, header: list[str], cells: list[str]) -> InputRow:
    if len(cells) < len(header):
        missing = ", ".join(header[len(cells) :])
        return _bad(
            number, f"the row has {len(cells)} of {len(header)} columns: {missing} missing; add an empty cell for each"
        )
    if len(cells) > len(header):
        extra = cells[len(header)][:40]
        sizes = f"the row has {len(cells)} columns, the header {len(header)}"
        return _bad(number, f"{sizes}: quote a prompt with commas ({extra!r} is left over)")
    said: dict[str, Any] = {column: cell for column, cell in zip(header, cells, strict=True) if cell.strip()}
    return InputRow(number, said)


def _bad(number: int, message: str) -> InputRow:
    return InputRow(number, {}, (FieldError("row", message),))


_JSON_NAMES: Mapping[type, str] = {
    list: "list",
    int: "number",
    float: "number",
    bool: "truth value",
    type(None): "null",
}
_READERS: Mapping[InputFormat, Callable[[str, Generator[str]], Iterator[InputRow]]] = {
    InputFormat.TEXT: _text_rows,
    InputFormat.JSONL: _json_rows,
    InputFormat.CSV: _csv_rows,
}
