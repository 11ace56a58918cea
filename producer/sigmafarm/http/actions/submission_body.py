"""What a submission's body says, in every form that it may have.

The body is put aside whole before anything is asked of the farm: a slow client must not hold a half-written batch open.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from sigmafarm.http.actions.json_body import JsonBody, parse
from sigmafarm.http.actions.submission_options import Options
from sigmafarm.inputs import InputFormat, format_of_name, parse_rows
from sigmafarm.items import Item
from sigmafarm.kept_columns import KeptColumns
from sigmafarm.matrices.sweep import text_of_axis
from sigmafarm_common.errors import (
    FieldError,
    InvalidInput,
    InvalidRequest,
    TooLarge,
    UnreadableInput,
)
from sigmafarm_common.settings import Settings
from sigmafarm_common.validation import shown, too_many_names

#: A body below this stays in memory while it is put aside.
SPOOL_BYTES = 1 << 20
#: The text of JSON is in memory whole: larger submissions come as JSON lines.
MAX_JSON_BYTES = 16 << 20
#: The forms of a body by its type.
JSON, MULTIPART = "application/json", "multipart/form-data"
TYPES: Mapping[str, InputFormat] = {
    "application/x-ndjson": InputFormat.JSONL,
    "application/jsonl": InputFormat.JSONL,
    "text/csv": InputFormat.CSV,
    "text/tab-separated-values": InputFormat.TSV,
    "text/plain": InputFormat.TEXT,
}
#: The field of a form that says how its file is written, where neither name nor type does.
FORMAT_FIELD = "format"
#: What a submission in JSON says of itself, beside the defaults of its rows.
OWN_OPTIONS = tuple(name for name in Options.model_fields if name not in Settings.model_fields)
#: The lists of a submission in JSON, with what their rows are.
ROW_LISTS: Mapping[str, tuple[type, str]] = {"prompts": (str, "a text"), "jobs": (dict, "an object")}


@dataclass(frozen=True)
class Parcel:
    """A body at hand, not yet read: its bytes and what they are. `input_format` is None for JSON, and for a file that
    says nothing of it."""

    file: IO[bytes]
    size_bytes: int
    name: str
    input_format: InputFormat | None
    #: Whether it is a file of rows, and not a body in JSON.
    is_file: bool = False


@asynccontextmanager
async def receive(request: Request, options: Options) -> AsyncGenerator[tuple[Parcel, Options]]:
    """Put the body aside; give it with the options that a form's fields say. Raises InvalidInput, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == MULTIPART:
        form = await _form_of(request)
        try:
            parcel = _uploaded(form.get("file"), form.get(FORMAT_FIELD))
            yield parcel, options.replaced(_form_fields(form.multi_items()))
        finally:
            await form.close()
        return
    if kind != JSON and kind not in TYPES:
        known = ", ".join((JSON, MULTIPART, *TYPES))
        raise HTTPException(415, f"the body's type is {kind[:60] or 'missing'}: must be one of {known}")
    with SpooledTemporaryFile[bytes](max_size=SPOOL_BYTES) as file:
        async for piece in request.stream():
            file.write(piece)
        size_bytes = file.tell()
        file.seek(0)
        yield Parcel(file, size_bytes, "body", TYPES.get(kind)), options


def read_rows(parcel: Parcel, options: Options, max_rows: int) -> tuple[Iterable[Item], Options]:
    """Return the rows of a parcel, which are read as they are asked for, and the options: whoever asks stops above
    max_rows. Raises InvalidInput."""
    if parcel.is_file or parcel.input_format is not None:
        return parse_rows(parcel.name, parcel.input_format, parcel.file, KeptColumns.of(options.keep)), options
    if parcel.size_bytes > MAX_JSON_BYTES:
        raise TooLarge(
            f"the JSON has {parcel.size_bytes} bytes, above {MAX_JSON_BYTES}: send JSON lines (application/x-ndjson)"
        )
    body = parse(parcel.file.read(), frozenset(ROW_LISTS), max_rows)
    if body is None:
        raise InvalidInput('the body is no object: send {"prompts": [...]} or {"jobs": [...]}')
    rows = _rows_in(body, max_rows)
    said = {name: value for name, value in body.members.items() if name not in ROW_LISTS}
    defaults = said.pop("defaults", None) or {}
    if not isinstance(defaults, dict):
        raise InvalidRequest([FieldError("defaults", "defaults must be an object: settings by name")])
    known = ", ".join((*ROW_LISTS, "defaults", *OWN_OPTIONS))
    strange = [name for name in said if name not in OWN_OPTIONS]
    if strange:
        raise InvalidRequest(
            FieldError(name, f"{shown(name)} is nothing that can be said here: {known} is") for name in strange
        )
    Settings.parse(defaults)  # which also says what is no setting
    if "sweep" in said:
        said["sweep"] = _sweep_texts(said["sweep"])
    return rows, options.replaced_as_json({**defaults, **said})


def _sweep_texts(sweep: Any) -> list[str]:
    """Return a sweep in JSON as the texts that a query says. Raises InvalidRequest."""
    if not isinstance(sweep, dict):
        raise InvalidRequest([FieldError("sweep", "sweep must be an object: lists of values by setting")])
    if wrong := too_many_names(sweep):
        raise InvalidRequest([wrong])
    return [text_of_axis(name, values) for name, values in sweep.items()]


async def _form_of(request: Request) -> FormData:
    try:
        return await request.form(max_files=1, max_fields=40, max_part_size=SPOOL_BYTES)
    except HTTPException as error:
        raise UnreadableInput(f"the form cannot be read: {error.detail}") from None


def _uploaded(upload: object, input_format: object) -> Parcel:
    if not isinstance(upload, UploadFile):
        raise InvalidRequest([FieldError("file", "file is missing: send the prompts as a file of that name")])
    name = Path(upload.filename or "").name
    known = _format_said(input_format) or format_of_name(name) or _format_of_type(upload.content_type or "")
    return Parcel(upload.file, upload.size or 0, name[:100] or "file", known, is_file=True)


def _format_said(said: object) -> InputFormat | None:
    if not said:
        return None
    if said not in list(InputFormat):
        raise InvalidRequest([FieldError(FORMAT_FIELD, f"format is {shown(said)}: must be {', '.join(InputFormat)}")])
    return InputFormat(str(said))


def _format_of_type(content_type: str) -> InputFormat | None:
    """Return the format that a file's type tells. That of text tells none: clients send it with anything."""
    kind = content_type.partition(";")[0].strip().lower()
    said = InputFormat.JSON if kind == JSON else TYPES.get(kind)
    return None if said is InputFormat.TEXT else said


def _form_fields(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    said = [
        (name, value)
        for name, value in items
        if isinstance(value, str) and value and name not in ("file", FORMAT_FIELD)
    ]
    lists = {name: [value for each, value in said if each == name] for name in ("sweep", "keep")}
    return {**dict(said), **{name: values for name, values in lists.items() if values}}


def _rows_in(body: JsonBody, max_rows: int) -> Iterable[Item]:
    """Return the rows of a body: of the list that has any. Raises InvalidRequest for rows that cannot be any."""
    for name in ROW_LISTS:
        if body.members.get(name) is not None:
            raise InvalidRequest([FieldError(name, f"{name} must be a list")])
    full = [name for name in body.starts if next(body.rows(name), body) is not body]
    for name in full:
        _check_kinds(name, islice(body.rows(name), max_rows))
    if len(full) > 1:
        raise InvalidRequest([FieldError("jobs", "jobs come beside prompts: send one list or the other")])
    return body.rows(full[0]) if full else ()


def _check_kinds(name: str, rows: Iterable[Any]) -> None:
    kind, word = ROW_LISTS[name]
    bad = (
        FieldError(f"{n}.row", f"row {n} is {shown(row)}: must be {word} among {name}")
        for n, row in enumerate(rows, start=1)
        if not isinstance(row, kind)
    )
    if (first := next(bad, None)) is not None:
        raise InvalidRequest(chain([first], bad))
