"""What a text looks like, whatever its file is called, by its first line that is not blank.

People rename files, and programs save web pages, rich text or JSON under names that say text. Drawn line by line they
would give a batch of nonsense, so what is certain is refused and what is likely is asked about. A prompt may begin with
anything: {a|b}, [less] and [[less]] do, and --format text takes every line for one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping

from sigmafarm.inputs.formats import InputFormat
from sigmafarm.inputs.tables import DELIMITERS, MAX_HEADER_CHARS, SEPARATOR
from sigmafarm.kept_columns import column_name

#: How texts begin that are no list of prompts.
_TEXT_BEGINS: Mapping[str, re.Pattern[str]] = {
    "rich text": re.compile(r"\{\\rtf"),
    "a web page": re.compile(r"<(!doctype html|html|head|body|table)\b", re.IGNORECASE),
    "XML": re.compile(r"<(\?xml|svg)\b", re.IGNORECASE),
    "a pointer of Git LFS": re.compile(r"version https://git-lfs\.github\.com/"),
    "YAML": re.compile(r"---$|%YAML|(-\s+)?[\"']?prompts?[\"']?\s*:(\s|$)", re.IGNORECASE),
    "Markdown": re.compile(r"```|\|.*\|$"),
    "a program": re.compile(r"#!/|from \w+ import |\w+\s*=\s*\["),
    "a list as Python prints it": re.compile(r"\[\s*'.*'\s*[\],]|\[?\{\s*'[^']*'\s*:"),
}
_TEXT = r'"(\\.|[^"\\])*"'
#: How JSON begins: with one object a line, or as an array.
_JSON_BEGINS = re.compile(
    rf"(?P<jsonl>\{{\s*{_TEXT}\s*:.*\}}$)|\[\s*($|\]|{_TEXT}\s*(,|\]\s*,?$|$)|\[\s*{_TEXT}|\{{\s*(\"|$))"
    rf"|\{{\s*($|\}}|{_TEXT}\s*:)"
)
#: How a column of prompts is called.
_PROMPT_COLUMNS = ("prompt", "prompts")


def text_look(line: str) -> str | None:
    """Return what a text is by its first line, None for what may be a list of prompts in any format of ours."""
    return next((what for what, begin in _TEXT_BEGINS.items() if begin.match(line)), None)


def format_look(line: str) -> InputFormat | None:
    """Return the format that a text's first line looks like, None for a prompt."""
    if found := _JSON_BEGINS.match(line):
        return InputFormat.JSONL if found["jsonl"] else InputFormat.JSON
    is_table = line.lower().startswith(SEPARATOR) or any(_is_header(line, each) for each in (*DELIMITERS, "|"))
    return InputFormat.CSV if is_table else None


def _is_header(line: str, delimiter: str) -> bool:
    cells = next(csv.reader([line[:MAX_HEADER_CHARS]], delimiter=delimiter, skipinitialspace=True), [])
    return any(column_name(cell) in _PROMPT_COLUMNS for cell in cells)
