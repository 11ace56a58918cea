"""Lines such as `--prompt "a red circle" --steps 20`, as AUTOMATIC1111's script of prompts from a file takes them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from sigmafarm.items import InputRow
from sigmafarm_common.settings import REQUEST_FIELDS

#: The setting that each name stands for: ours, other names for it, and AUTOMATIC1111's.
NAMES: Mapping[str, str] = {
    **{field.a1111: field.name for field in REQUEST_FIELDS.values() if field.a1111},
    **{name: field.name for field in REQUEST_FIELDS.values() for name in (*field.names, field.name)},
}


def is_command_line(line: str) -> bool:
    """Whether a line of text says settings: it begins with one's name behind two hyphens."""
    return line.startswith("--") and _name_of(line.split()[0]) in NAMES


def row_of_command_line(number: int, line: str) -> InputRow:
    """Return the row that a line says; what is wrong with it travels with it."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        return InputRow.bad(number, f"the line is no list of --settings ({str(error).lower()}): check its quotes")
    said: dict[str, str] = {}
    while words:
        word = words.pop(0)
        name, is_joined, value = word.partition("=")
        setting = NAMES.get(_name_of(name)) if name.startswith("--") else None
        if setting is None:
            return InputRow.bad(
                number, f"{word[:40]!r} is no setting of a job: quote a value that has blanks, or leave it out"
            )
        if not is_joined and not words:
            return InputRow.bad(number, f"{name} has no value: write one behind it")
        said[setting] = value if is_joined else words.pop(0)
    return InputRow(number, said)


def _name_of(flag: str) -> str:
    return flag.partition("=")[0].removeprefix("--").replace("-", "_")
