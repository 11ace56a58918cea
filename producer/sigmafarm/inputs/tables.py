"""Rows of a table: CSV and TSV, as programs and spreadsheets write them.

What a spreadsheet adds is understood: `sep=;` before the header, semicolons or tabs between cells where the header
shows them, capitals and blanks in the header, empty columns and rows, and a comma in numbers (7,5) between semicolons.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from sigmafarm.inputs.lines import MAX_LINE_BYTES
from sigmafarm.items import InputRow, Written
from sigmafarm.kept_columns import KeptColumns, column_name, how_to_keep
from sigmafarm_common.errors import UnreadableInput
from sigmafarm_common.own_columns import OWN_PREFIX
from sigmafarm_common.setting_fields import Kind
from sigmafarm_common.settings import REQUEST_FIELDS, setting_like

#: The columns that a table, and the fields that a JSON line, may have.
COLUMNS = tuple(REQUEST_FIELDS)
#: What may stand between cells.
DELIMITERS = (",", ";", "\t")
#: What of a line is looked at to find out whether it is a header: more than all our columns, and less than a cell of
#: the csv module may have.
MAX_HEADER_CHARS = 8_192
#: Columns that are spelled out which a table may not have.
MAX_STRANGE = 10
#: How a spreadsheet names its delimiter before the header.
SEPARATOR = "sep="


#: What a cell has in place of its text where the spreadsheet could not make it, in English and in German.
SHEET_ERRORS = frozenset(
    {"#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#N/A", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#ERROR!"}
    | {"#BEZUG!", "#WERT!", "#NV", "#ZAHL!", "#ÜBERLAUF!"}
)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*", re.ASCII)


def table_rows(name: str, lines: Iterator[str], kept: KeptColumns, usual: str = DELIMITERS[0]) -> Iterator[InputRow]:
    """Yield the rows of a table; `usual` is what stands between cells where the header does not show it, `kept` says
    which columns it may have beside ours.

    Raises UnreadableInput for what makes the whole table unreadable.
    """
    record = _Record(name, lines)
    first, said = record.next_that_is_not_blank(), ""
    if first.lower().lstrip('"').startswith(SEPARATOR):
        said = first.strip('"\n')[len(SEPARATOR) :][:1]
        record.num_before += 1
        first = record.next_that_is_not_blank()
    delimiter = said or delimiter_of(first, usual)
    if delimiter not in DELIMITERS:
        raise UnreadableInput(f"{name} says sep={delimiter!r}: must be a comma, a semicolon or a tab")
    record.put_back(first)
    reader = csv.reader(record, strict=True, skipinitialspace=True, delimiter=delimiter)
    header: list[str] = []
    names: list[str] = []
    record.start = record.num_before + 1
    try:
        for cells in reader:
            record.num_chars = 0
            if any(cell.strip() for cell in cells):
                if header:
                    pointed = _with_points(header, cells) if delimiter == ";" else cells
                    yield _row(name, record.start, header, pointed, Written(names, cells, delimiter))
                else:
                    header, names = _check_header(name, record.start, cells, kept), cells
            record.start = record.num_before + reader.line_num + 1
    except csv.Error as error:
        at = record.num_before + reader.line_num
        seen = f"{error} at line {at}" if at > record.start else str(error)
        raise UnreadableInput(f"{name} line {record.start} is no CSV ({seen}): check its quotes") from None
    if not header:
        raise UnreadableInput(f"{name} is empty: a CSV begins with a header, such as prompt,seed")


def delimiter_of(header: str, usual: str = DELIMITERS[0]) -> str:
    """Return what stands between the cells of a header: that which gives the most columns that are ours."""
    return max((usual, *DELIMITERS), key=lambda each: len(known_columns(header, each)))


def known_columns(header: str, delimiter: str) -> list[str]:
    """Return the columns of a line that are ours, as far as a header is long."""
    begin = header[:MAX_HEADER_CHARS].rstrip("\n")
    cells = next(csv.reader([begin], delimiter=delimiter, skipinitialspace=True), [])
    return [column for cell in cells if (column := column_name(cell)) in COLUMNS]


class _Record:
    """The lines of a table, counted since the last row: a quoted cell may have many."""

    def __init__(self, name: str, lines: Iterator[str]):
        self._name, self._lines, self._first = name, lines, list[str]()
        self.num_chars = 0
        #: Lines before the header's, and the line at which the row begins that is being read.
        self.num_before, self.start = 0, 1

    def next_that_is_not_blank(self) -> str:
        """Return the next line with something on it; empty where there is none."""
        for line in self:
            self.num_chars = 0
            if line.strip():
                return line
            self.num_before += 1
        return ""

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
                f"{self._name} line {self.start} begins a row of more than {MAX_LINE_BYTES} characters: check its "
                "quotes for one that is never closed"
            )
        return line


def _check_header(name: str, number: int, cells: list[str], kept: KeptColumns) -> list[str]:
    """Return the columns, "" for those without a name."""
    header = [column_name(cell) for cell in cells]
    while header and not header[-1]:
        header.pop()
    strange = {cell.strip()[:60]: column for column, cell in zip(header, cells, strict=False) if column}
    strange = {cell: name for cell, name in strange.items() if name not in COLUMNS and not kept.holds(name)}
    wrong = [_of_strange(strange, header, kept)] if strange else []
    if twice := next((column for column in header if column and header.count(column) > 1), None):
        wrong.append(f"column {twice!r} stands there twice: leave one out")
    if "prompt" not in header and not strange:
        wrong.append(f"there is no column prompt among {', '.join(filter(None, header))}: add it")
    if wrong:
        raise UnreadableInput(f"{name} line {number}: {'; '.join(wrong)}")
    return header


def _of_strange(strange: Mapping[str, str], header: list[str], kept: KeptColumns) -> str:
    """Return what is wrong with columns that are none of ours, by their cells, and what helps: all of them at once."""
    if len(strange) == 1:
        ((cell, column),) = strange.items()
        return f"column {cell!r} is no setting of a job: {_column_cure(column[:60], header, kept)}"
    cells = [repr(cell) for cell in list(strange)[:MAX_STRANGE]]
    more = f" and {len(strange) - MAX_STRANGE} more" if len(strange) > MAX_STRANGE else ""
    said = f"columns {', '.join(cells)}{more} are no settings of a job"
    if cure := _cure_of_the_table(strange.values(), header, kept):
        return f"{said}: {cure}"
    meant = [f"{near} by {cell!r}" for cell, column in strange.items() if (near := setting_like(column))][:MAX_STRANGE]
    keep = ",".join(column[:60] for column in list(strange.values())[:MAX_STRANGE])
    keeping = f"keep={keep} keeps them with the jobs, and so do names with {OWN_PREFIX} before them"
    return f"{said}: did you mean {', '.join(meant)}? Else {keeping}" if meant else f"{said}: {keeping}"


def _column_cure(column: str, header: list[str], kept: KeptColumns) -> str:
    """Return what helps with a column that is none of ours."""
    if cure := _cure_of_the_table([column], header, kept):
        return cure
    if near := setting_like(column):
        return f"did you mean {near}? Else {how_to_keep(column)}"
    return f"{how_to_keep(column)}; else leave it out, or give it one of their names: {', '.join(COLUMNS)}"


def _cure_of_the_table(columns: Iterable[str], header: list[str], kept: KeptColumns) -> str:
    """Return what helps with a line that is no header of ours at all; empty for one that is."""
    for column in columns:
        if len(parts := re.split(r"[^\w ]+", column)) > 1 and any(part in COLUMNS for part in parts):
            return "columns are parted by commas, semicolons or tabs, as sep= says where it is said"
    if not any(each in COLUMNS or kept.holds(each) or setting_like(each) for each in header):
        return "a table begins with a header, such as prompt,seed: add one"
    return ""


def _with_points(header: list[str], cells: list[str]) -> list[str]:
    """Return cells with a point in numbers that have a comma, as they are written where semicolons part cells."""
    return [
        cell.replace(",", ".") if _is_number(column) and _DECIMAL_COMMA.fullmatch(cell) else cell
        for column, cell in zip_longest(header, cells, fillvalue="")
    ][: len(cells)]


def _is_number(column: str) -> bool:
    return column in REQUEST_FIELDS and REQUEST_FIELDS[column].kind is Kind.NUMBER


def _row(name: str, number: int, header: list[str], cells: list[str], written: Written) -> InputRow:
    if len(cells) < len(header):
        missing = ", ".join(filter(None, header[len(cells) :]))
        said = f"the row has {len(cells)} of {len(header)} columns: {missing} missing; add an empty cell for each"
        return InputRow.bad(number, said, written)
    if extra := next((cell for cell in cells[len(header) :] if cell.strip()), ""):
        sizes = f"the row has {len(cells)} columns, the header {len(header)}"
        return InputRow.bad(number, f"{sizes}: quote a prompt with commas ({extra[:40]!r} is left over)", written)
    values: dict[str, Any] = {column: cell for column, cell in zip(header, cells, strict=False) if cell.strip()}
    if (nameless := values.get("")) is not None:
        said = f"column {cells.index(nameless) + 1} has no name, and {nameless[:40]!r} stands in it"
        raise UnreadableInput(f"{name} line {number}: {said}: name it in the header, or leave it out")
    for column, cell in values.items():
        if cell.strip() in SHEET_ERRORS:
            said = f"{column} is {cell.strip()!r}, which a spreadsheet writes for a cell that it cannot work out"
            cure = "mend it; a text that begins with = or - has ' before it there"
            return InputRow.bad(number, f"{said}: {cure}", written)
    return InputRow(number, values, written=written)
