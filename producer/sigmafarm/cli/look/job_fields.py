"""Some fields of jobs, for programs: of the record or of the settings, by name, with tabs between them or as CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from sigmafarm.shapes import job_json
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.own_columns import is_always_kept
from sigmafarm_common.records import Job
from sigmafarm_common.settings import NO_SETTINGS, SETTING_FIELDS
from sigmafarm_common.validation import shown
from sigmafarm_common.visible import visible

#: What CSV has where nobody names fields.
USUAL = ("id", "row", "state", "seed", "prompt", "image_key", "sha256", "error_code", "error")
#: Every field that can be named.
KNOWN = tuple(
    dict.fromkeys([*(name for name in Job.model_fields if name != "request"), "prompt", *SETTING_FIELDS, *NO_SETTINGS])
)
#: How one of a job's own columns is named: `columns.id`; `label` and `x_...` also as they are.
COLUMN = "columns."


def chosen_fields(text: str | None) -> tuple[str, ...]:
    """Return the fields that a text names, between commas; the usual ones for none. Raises InvalidRequest."""
    names = tuple(filter(None, (part.strip() for part in text.split(",")))) if text is not None else USUAL
    unknown = [name for name in names if name not in KNOWN and not _column_of(name)]
    if unknown or not names:
        said = f"fields is {shown(text)}: {'there is no ' + shown(unknown[0]) if unknown else 'it names none'}"
        raise InvalidRequest([FieldError("fields", f"{said}; there are {COLUMN}NAME, {', '.join(KNOWN)}")])
    return names


def write_fields(jobs: Iterable[Job], names: Sequence[str], *, is_csv: bool) -> None:
    """Write a line a job to stdout: CSV with a header, or cells with tabs between them that hold no line end."""
    if is_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_text(job, name) for name in names] for job in jobs)
        return
    for job in jobs:
        sys.stdout.write("\t".join(visible(_text(job, name)) for name in names) + "\n")


def _column_of(name: str) -> str:
    """Return the own column that a field names, empty where it names none."""
    if name.startswith(COLUMN):
        return name.removeprefix(COLUMN)
    return name if name not in KNOWN and is_always_kept(name) else ""


def _text(job: Job, name: str) -> str:
    if column := _column_of(name):
        return (job.request.columns or {}).get(column, "")
    record = job_json(job)
    value: Any = record.get(name, record["request"].get(name))
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
