"""Reads prompt files from a file or stdin, a row at a time.

What is wrong with one row travels with the row, so that all bad rows can be told together with their line numbers. What
makes the whole file unreadable (no such file, no text, a column that is no setting) raises UnreadableInput.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import BinaryIO

from sigmafarm.inputs.command_lines import is_command_line, row_of_command_line
from sigmafarm.inputs.formats import ANYHOW, InputFormat, format_of_name, no_prompts
from sigmafarm.inputs.json_rows import json_rows, jsonl_rows
from sigmafarm.inputs.lines import MAX_LINE_BYTES, lines_of
from sigmafarm.inputs.looks import format_look, text_look
from sigmafarm.inputs.tables import table_rows
from sigmafarm.items import InputRow, Written
from sigmafarm.kept_columns import KeptColumns
from sigmafarm_common.errors import UnreadableInput
from sigmafarm_common.picture_inputs import is_picture_name
from sigmafarm_common.settings import PICTURE_FIELDS

__all__ = ["MAX_LINE_BYTES", "STDIN", "parse_rows", "read_rows"]

#: The name that stands for stdin.
STDIN = "-"
#: What ends lines in some programs and not in others, and lies unseen between two prompts or in one.
_ODD_ENDS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
#: How lines go on that AUTOMATIC1111 writes of a picture, in it and beside it: they belong to the prompt above.
_PICTURES_TEXT = re.compile(r"Negative prompt:\s|Steps: \d+, \w+")
_OF_A_PICTURE = (
    "the line goes on with what AUTOMATIC1111 writes of a picture, and is no prompt: write the settings on the line of "
    'their prompt, as in --prompt "..." --negative_prompt "..." --steps 20'
)
#: What stands alone on lines that look blank: the end of DOS's files, spaces without width.
_NOTHING = "\x1a\u200b\u2060"


def read_rows(
    path: str,
    input_format: InputFormat | None = None,
    *,
    kept: KeptColumns | None = None,
    stdin: BinaryIO | None = None,
) -> Iterator[InputRow]:
    """Open a file (or stdin, for `-`) at once and return its rows; they are read as they are asked for.

    The format follows from the name unless it is said; stdin is text unless it is said. Stdin is read to its end first:
    a slow writer must not hold a half-written batch open. Paths of pictures count from the file's folder. `kept` names
    columns that a table may have beside those that are always kept. Raises UnreadableInput, here or while the rows are
    read.
    """
    if path == STDIN:
        return parse_rows("stdin", input_format, (stdin or sys.stdin.buffer).readlines(), kept)
    file = _open(Path(path))
    try:
        known = input_format or format_of_name(path)
    except UnreadableInput:
        file.close()
        raise
    return (_anchored(row, Path(path).parent) for row in _rows_of_file(path, known, file, kept))


def parse_rows(
    name: str, input_format: InputFormat | None, source: Iterable[bytes], kept: KeptColumns | None = None
) -> Iterator[InputRow]:
    """Return the rows of a file, or of pieces that are at hand already; `name` stands in errors. They are read as they
    are asked for. Without a format it is text, unless its first line looks like another one. Whatever is not called
    text may be something else altogether, and is refused.

    Raises UnreadableInput while the rows are read.
    """
    lines, kept = lines_of(name, source), kept or KeptColumns()
    if input_format is InputFormat.TEXT:
        return _text_rows(name, lines, kept)
    return _looked_at(name, input_format, lines, kept)


def _rows_of_file(
    name: str, input_format: InputFormat | None, file: BinaryIO, kept: KeptColumns | None
) -> Iterator[InputRow]:
    with file:
        yield from parse_rows(name, input_format, file, kept)


def _anchored(row: InputRow, folder: Path) -> InputRow:
    """Return a row with the paths of its pictures counted from a folder."""
    paths = {name: row.data[name] for name in PICTURE_FIELDS if isinstance(row.data.get(name), str)}
    found = {name: str(folder / text) for name, text in paths.items() if not is_picture_name(text)}
    return replace(row, data={**row.data, **found}) if found else row


def _open(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        return path.open("rb")
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        cure = "check the path, or say a prompt itself by --prompt" if is_missing else "check the path"
        raise UnreadableInput(f"prompt file {path} cannot be read: {error.strerror}; {cure}") from None


def _looked_at(
    name: str, input_format: InputFormat | None, lines: Iterator[str], kept: KeptColumns
) -> Iterator[InputRow]:
    """Yield the rows of what nobody called text. Raises UnreadableInput where it looks like something else."""
    num_blank, first = 0, ""
    for first in lines:
        if first.strip():
            break
        num_blank += 1
    begin = first.strip()
    if what := text_look(begin):
        seen = f"line {num_blank + 1} is {begin[:60]!r}, which looks like"
        raise no_prompts(name, what, seen=seen)
    if input_format is InputFormat.JSONL and begin in ("[", "{"):
        raise UnreadableInput(
            f"{name} line {num_blank + 1} is {begin!r}: say --format json, or write one object a line"
        )
    if input_format is None and (looks_like := format_look(begin)):
        raise UnreadableInput(
            f"{name} line {num_blank + 1} is {begin[:60]!r}, which looks like {looks_like} and not like a prompt: say "
            f"--format {looks_like}, or {ANYHOW}"
        )
    read = _READERS[input_format or InputFormat.TEXT]
    yield from read(name, chain(repeat("\n", num_blank), [first] if first.strip() else [], lines), kept)


def _text_rows(_name: str, lines: Iterable[str], _kept: KeptColumns) -> Iterator[InputRow]:
    for number, line in enumerate(lines, start=1):
        prompt = line.strip().strip(_NOTHING).strip()
        if odd := _ODD_ENDS.search(prompt):
            yield InputRow.bad(number, _odd_end(prompt, odd.start()), Written(("prompt",), (prompt,)))
        elif _PICTURES_TEXT.match(prompt):
            yield InputRow.bad(number, _OF_A_PICTURE, Written(("prompt",), (prompt,)))
        elif prompt and is_command_line(prompt):
            yield row_of_command_line(number, prompt)
        elif prompt:
            yield InputRow(number, {"prompt": prompt}, written=Written(("prompt",), (prompt,)))


def _odd_end(line: str, at: int) -> str:
    begin = f"behind {line[max(0, at - 30) : at]!r} stands U+{ord(line[at]):04X}, which ends lines in some programs"
    return f"{begin}: end the line there if two prompts are meant, or write a blank"


def _tsv_rows(name: str, lines: Iterator[str], kept: KeptColumns) -> Iterator[InputRow]:
    return table_rows(name, lines, kept, "\t")


_READERS: Mapping[InputFormat, Callable[[str, Iterator[str], KeptColumns], Iterator[InputRow]]] = {
    InputFormat.TEXT: _text_rows,
    InputFormat.JSONL: jsonl_rows,
    InputFormat.JSON: json_rows,
    InputFormat.CSV: table_rows,
    InputFormat.TSV: _tsv_rows,
}
