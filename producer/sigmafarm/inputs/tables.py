"""Rows of a table: CSV and TSV, as programs and spreadsheets write them.

What a spreadsheet adds is understood: `sep=;` before the header, semicolons or tabs between cells where the header
shows them, capitals and blanks in the header, empty cells and rows at the end.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from typing import Any

from sigmafarm.inputs.lines import MAX_LINE_BYTES
from sigmafarm.items import InputRow
from sigmafarm_common.errors import UnreadableInput
from sigmafarm_common.settings import REQUEST_FIELDS

#: The columns that a table, and the fields that a JSON line, may have.
COLUMNS = tuple(REQUEST_FIELDS)
#: What may stand between cells.
DELIMITERS = (",", ";", "\t")
#: What of a line is looked at to find out whether it is a header: more than all our columns, and less than a cell of
#: the csv module may have.
MAX_HEADER_CHARS = 8_192
#: How a spreadsheet names its delimiter before the header.
SEPARATOR = "sep="


def table_rows(name: str, lines: Iterator[str], delimiter: str | None = None) -> Iterator[InputRow]:
    """Yield the rows of a table; `delimiter` is what stands between cells, found by the header unless it is said.

    Raises UnreadableInput for what makes the whole table unreadable.
    """
    record = _Record(name, lines)
    first = next(record, "")
    if first.lower().startswith(SEPARATOR):
        delimiter = first[len(SEPARATOR) :].rstrip("\n")[:1] or delimiter
        record.num_before += 1
        first = next(record, "")
    delimiter = delimiter or delimiter_of(first)
    if delimiter not in DELIMITERS:
        raise UnreadableInput(f"{name} says sep={delimiter!r}: must be a comma, a semicolon or a tab")
    record.put_back(first)
    reader = csv.reader(record, strict=True, skipinitialspace=True, delimiter=delimiter)
    header: list[str] = []
    start = record.num_before + 1
    try:
        for cells in reader:
            record.num_chars = 0
            if any(cell.strip() for cell in cells):
                if header:
                    yield _row(start, header, cells)
                else:
                    header = _check_header(name, start, cells)
            start = record.num_before + reader.line_num + 1
    except csv.Error as error:
        number = record.num_before + reader.line_num
        raise UnreadableInput(f"{name} line {number} is no CSV ({error}): check its quotes") from None
    if not header:
        raise UnreadableInput(f"{name} is empty: a CSV begins with a header, such as prompt,seed")


def delimiter_of(header: str) -> str:
    """Return what stands between the cells of a header: that which gives the most columns that are ours."""
    return max(DELIMITERS, key=lambda each: len(known_columns(header, each)))


def known_columns(header: str, delimiter: str) -> list[str]:
    """Return the columns of a line that are ours, as far as a header is long."""
    begin = header[:MAX_HEADER_CHARS].rstrip("\n")
    cells = next(csv.reader([begin], delimiter=delimiter, skipinitialspace=True), [])
    return [column for cell in cells if (column := read_column(cell)) in COLUMNS]


class _Record:
    """The lines of a table, counted since the last row: a quoted cell may have many."""

    def __init__(self, name: str, lines: Iterator[str]):
        self._name, self._lines, self._first = name, lines, list[str]()
        self.num_chars = 0
        #: Lines before the header's.
        self.num_before = 0

    def put_back(self, line: str) -> None:
        """Let a line come again."""
        self._first = [line] if line else []
        self.num_chars = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._first.pop() if self._first else next(self._lines)
        self.num_chars += len(line)
        if self.num_chars > MAX_LINE_BYTES:
            raise UnreadableInput(
                f"{self._name} has a row of more than {MAX_LINE_BYTES} characters: check its quotes for one that is "
                "never closed"
            )
        return line


def read_column(cell: str) -> str:
    """Return a column's name as we write it: `Negative Prompt ` is negative_prompt."""
    return cell.strip().lower().replace(" ", "_").replace("-", "_")


def _check_header(name: str, number: int, cells: list[str]) -> list[str]:
    header = [read_column(cell) for cell in cells]
    while header and not header[-1]:
        header.pop()
    for column, cell in zip(header, cells, strict=False):
        if column not in COLUMNS:
            near = _column_like(column[:60])
            cure = f"did you mean {near}?" if near else f"columns are {', '.join(COLUMNS)}"
            raise UnreadableInput(f"{name} line {number}: column {cell.strip()[:60]!r} is no setting of a job: {cure}")
    if twice := next((column for column in header if header.count(column) > 1), None):
        raise UnreadableInput(f"{name} line {number}: column {twice!r} stands there twice: leave one out")
    if "prompt" not in header:
        raise UnreadableInput(f"{name} line {number}: there is no column prompt among {', '.join(header)}: add it")
    return header


def _column_like(column: str) -> str | None:
    """Return the column that was meant: one of another name for it, or of a name that is written much like it."""
    meant = next((field.name for field in REQUEST_FIELDS.values() if column in (*field.names, field.a1111)), None)
    return meant or next(iter(difflib.get_close_matches(column, COLUMNS, n=1)), None)


def _row(number: int, header: list[str], cells: list[str]) -> InputRow:
    if len(cells) < len(header):
        missing = ", ".join(header[len(cells) :])
        said = f"the row has {len(cells)} of {len(header)} columns: {missing} missing; add an empty cell for each"
        return InputRow.bad(number, said)
    if extra := next((cell for cell in cells[len(header) :] if cell.strip()), ""):
        sizes = f"the row has {len(cells)} columns, the header {len(header)}"
        return InputRow.bad(number, f"{sizes}: quote a prompt with commas ({extra[:40]!r} is left over)")
    values: dict[str, Any] = {column: cell for column, cell in zip(header, cells, strict=False) if cell.strip()}
    return InputRow(number, values)
