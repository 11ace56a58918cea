"""How prompts are written in a file, and how that is found out: by its name, by what is said, by its first line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath

from sigmafarm_common.errors import UnreadableInput


class InputFormat(StrEnum):
    """How prompts are written in a file."""

    #: One prompt a line; blank lines count as nothing.
    TEXT = "text"
    #: One JSON object a line, with our field names; or a JSON string, which is a prompt.
    JSONL = "jsonl"
    #: One JSON array of such objects or strings.
    JSON = "json"
    #: A header of our field names, a row a line; an empty cell says nothing. Commas, semicolons or tabs between cells.
    CSV = "csv"
    #: The same with tabs.
    TSV = "tsv"


#: The format that a file's name tells; any other is text, but for those that are none.
FORMATS: Mapping[str, InputFormat] = {
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".json": InputFormat.JSON,
    ".csv": InputFormat.CSV,
    ".tsv": InputFormat.TSV,
    ".tab": InputFormat.TSV,
}
#: Files whose lines are no prompts, by the end of their names, and what they are.
NO_PROMPTS: Mapping[str, str] = {
    ".yaml": "YAML",
    ".yml": "YAML",
    ".toml": "TOML",
    ".xml": "XML",
    ".html": "a web page",
    ".htm": "a web page",
    ".md": "Markdown",
    ".rst": "reStructuredText",
    ".rtf": "rich text",
    ".ipynb": "a notebook",
    ".py": "a program",
    ".xlsx": "a spreadsheet",
    ".xls": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".docx": "a document",
    ".doc": "a document",
    ".odt": "a document",
    ".pdf": "a document",
    ".zip": "an archive",
    ".gz": "an archive",
}


def format_of_name(name: str) -> InputFormat | None:
    """Return the format that a file's name tells, None where it tells nothing. Raises UnreadableInput for a file whose
    lines are no prompts."""
    suffix = PurePath(name).suffix.lower()
    if what := NO_PROMPTS.get(suffix):
        raise UnreadableInput(
            f"{name[:100]} is {what}: prompts come as text, CSV, TSV, JSON or JSON lines; save it so, or say "
            "--format text (in a form: its format) where each line is a prompt"
        )
    return FORMATS.get(suffix)
