"""The file of bad rows: each as it was written, with its line and what is wrong before its own columns.

It is a prompt file itself: mended, it is submitted as it is. `x_line` stays with the jobs as a column of their own, and
`x_reason` is left aside.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from sigmafarm.cli.flag_names import row_in_flags
from sigmafarm.items import InputRow, Item, Written
from sigmafarm.kept_columns import LINE_COLUMN, REASON_COLUMN, column_name
from sigmafarm.rows import said_by
from sigmafarm_common.errors import FieldError, InvalidRequest, RowError
from sigmafarm_common.setting_fields import text_of

#: What stands between the cells of a table, by the file's ending: None for as it was; and the ending of JSON lines.
DELIMITERS: Mapping[str, str | None] = {".csv": None, ".tsv": "\t"}
JSONL = ".jsonl"
#: The columns that come first.
OURS = (LINE_COLUMN, REASON_COLUMN)


class BadRowsFile:
    """The bad rows of one submission, written when all are known."""

    def __init__(self, path: Path, source: str | None):
        """Raises InvalidRequest for a file that cannot be written, or is the one that is submitted."""
        self._path = path
        self._partial = path.with_name(f".partial-{path.name}")
        self._rows: list[tuple[str, list[str], Written]] = []
        self._last: int | None = None
        if path.suffix.lower() not in (*DELIMITERS, JSONL):
            raise _refused(path, f"must end in {', '.join((*DELIMITERS, JSONL))}")
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise _refused(path, "it is the file that is submitted; name another")
        try:
            self._partial.open("w").close()  # better now than when the rest has been accepted
            self._partial.unlink()
        except OSError as error:
            raise _refused(path, f"it cannot be written ({error.strerror}); check the path") from None

    def add(self, error: RowError, item: Item) -> None:
        """Take a bad row in; the jobs that a matrix makes of one row are one row here."""
        error = row_in_flags(error)
        if error.row == self._last:
            reasons = self._rows[-1][1]
            reasons += [each.message for each in error.fields if each.message not in reasons]
            return
        self._last = error.row
        line, written = _taken(str(error.row), _written(item))
        self._rows.append((line, [each.message for each in error.fields], written))

    def write(self) -> int:
        """Write the file where there are bad rows, and return how many. What stood there is replaced."""
        if self._rows:
            with self._partial.open("w", encoding="utf-8", newline="") as file:
                (self._write_jsonl if self._path.suffix.lower() == JSONL else self._write_table)(file)
            self._partial.replace(self._path)
        return len(self._rows)

    def _write_jsonl(self, file: TextIO) -> None:
        for line, reasons, written in self._rows:
            said = dict(zip(written.columns, written.cells, strict=False))
            row = {LINE_COLUMN: line, REASON_COLUMN: "; ".join(reasons), **said}
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

    def _write_table(self, file: TextIO) -> None:
        first = self._rows[0][2]
        columns = list(dict.fromkeys(name for _, _, written in self._rows for name in written.columns))
        is_one_table = all(list(written.columns) == columns for _, _, written in self._rows)
        delimiter = DELIMITERS[self._path.suffix.lower()] or first.delimiter
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow([*OURS, *columns])
        for line, reasons, written in self._rows:
            cells = [*written.cells] if is_one_table else list(_in_columns(written, columns))
            writer.writerow([line, "; ".join(reasons), *map(_text, cells)])


def _in_columns(written: Written, columns: list[str]) -> Iterator[Any]:
    said = dict(zip(written.columns, written.cells, strict=False))
    return (said.get(name) for name in columns)


def _written(item: Item) -> Written:
    """Return how a row is written; one that comes from no file is written by what it says."""
    if isinstance(item, InputRow) and item.written is not None:
        return item.written
    said = said_by(item) or {}
    return Written((*said,), (*said.values(),))


def _taken(line: str, written: Written) -> tuple[str, Written]:
    """Return the line of a row and its columns without ours: a row that is bad again is still that of the first
    file."""
    pairs = list(zip(written.columns, written.cells, strict=False))
    if not any(column_name(name) in OURS for name, _ in pairs):
        return line, written
    first = next((str(cell) for name, cell in pairs if column_name(name) == LINE_COLUMN and cell), line)
    ours = [n for n, (name, _) in enumerate(pairs) if column_name(name) in OURS]
    columns = [name for n, name in enumerate(written.columns) if n not in ours]
    cells = [cell for n, cell in enumerate(written.cells) if n not in ours]
    return first, Written(columns, cells, written.delimiter)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict | list) else text_of(cell)


def _refused(path: Path, why: str) -> InvalidRequest:
    return InvalidRequest([FieldError("errors", f"errors is {str(path)!r}: {why}")])
