"""Which columns of rows are kept with their jobs beside the settings: `id`, `label`, `x_...`, and those that are named.

The names of tables are compared as they are read (`Image ID` is image_id), those of JSON as they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.own_columns import MAX_COLUMN_NAME_CHARS, MAX_COLUMNS, OWN_PREFIX, is_always_kept
from sigmafarm_common.settings import NO_SETTINGS, REQUEST_FIELDS
from sigmafarm_common.validation import shown

#: What a file of bad rows says of each: its line in the first file, which stays with the job, and what was wrong, which
#: is mended and does not.
LINE_COLUMN, REASON_COLUMN = "x_line", "x_reason"


@dataclass(frozen=True)
class KeptColumns:
    """The names of columns that are kept with the jobs."""

    named: frozenset[str] = frozenset()

    @classmethod
    def of(cls, said: str | Iterable[str]) -> KeptColumns:
        """Read names, one by one or between commas. Raises InvalidRequest for one that cannot be kept."""
        texts = [said] if isinstance(said, str) else list(said)
        if not all(isinstance(text, str) for text in texts):  # pyright: ignore[reportUnnecessaryIsInstance] - callers have no types
            raise _bad(f"keep is {shown(texts)}: must be names of columns")
        names = [name for text in texts for part in text.split(",") if (name := part.strip())]
        for name in names:
            if name in REQUEST_FIELDS or name in NO_SETTINGS:
                raise _bad(f"keep names {name}, which a job has already: leave it out")
            if len(name) > MAX_COLUMN_NAME_CHARS:
                raise _bad(f"keep names {shown(name)}: a column's name has {MAX_COLUMN_NAME_CHARS} characters at most")
        if (num := len(set(map(column_name, names)))) > MAX_COLUMNS:
            raise _bad(f"keep names {num} columns: a job keeps {MAX_COLUMNS} at most")
        return cls(frozenset((*names, *map(column_name, names))))

    def holds(self, name: str) -> bool:
        """Whether a column of that name is kept."""
        return name in self.named or is_always_kept(name)

    def taken(self, said: dict[str, Any]) -> dict[str, Any]:
        """Return what a row says with its own columns in their place. What `columns` says stays."""
        kept = {name: value for name, value in said.items() if self.holds(name)}
        if not kept:
            return said
        rest = {name: value for name, value in said.items() if name not in kept}
        kept.pop(REASON_COLUMN, None)
        before = rest.get("columns")
        return {**rest, "columns": {**(before if isinstance(before, Mapping) else {}), **kept}}


def column_name(cell: str) -> str:
    """Return a column's name as we write it: `Negative Prompt ` is negative_prompt."""
    return "_".join(cell.lower().replace("-", "_").split())


def how_to_keep(name: str) -> str:
    """Return how a column is kept that is no setting."""
    short = shown(name).strip("'\"")[:MAX_COLUMN_NAME_CHARS]
    return f"keep={short} keeps it with the jobs, and so does the name {OWN_PREFIX}{short}"


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError("keep", message)])
