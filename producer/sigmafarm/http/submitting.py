"""What a submission's body says, in every form that it may have, and its limits.

The body is put aside whole before anything is asked of the farm: a slow client must not hold a half-written batch open.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any

from fastapi import Request
from pydantic import Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from sigmafarm.inputs import FORMATS, InputFormat, parse_rows
from sigmafarm.submission import Item
from sigmafarm_common.errors import (
    FieldError,
    InvalidInput,
    InvalidRequest,
    TooLarge,
    TooManyRequests,
    UnreadableInput,
)
from sigmafarm_common.job import Settings
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.validation import field_errors, shown

#: A body below this stays in memory while it is put aside.
SPOOL_BYTES = 1 << 20
#: JSON is read whole: larger submissions come as JSON lines.
MAX_JSON_BYTES = 16 << 20
#: The forms of a body by its type.
JSON, MULTIPART = "application/json", "multipart/form-data"
TYPES: Mapping[str, InputFormat] = {
    "application/x-ndjson": InputFormat.JSONL,
    "application/jsonl": InputFormat.JSONL,
    "text/csv": InputFormat.CSV,
    "text/plain": InputFormat.TEXT,
}
#: After how long an owner above the quota may come back.
QUOTA_RETRY_S = 30.0


class Options(Settings):
    """What is said about a whole submission: in the query, in a form's fields or in JSON. Settings are its defaults."""

    name: Annotated[str, Field(max_length=200, description="A name for people.")] = ""
    priority: Annotated[int, Field(ge=-100, le=100, description="Higher goes first.")] = 0
    repeat: Annotated[int, Field(ge=1, description="Jobs of each row; a seed counts up.")] = 1
    skip_bad: Annotated[bool, Field(description="Leave bad rows out instead of refusing all.")] = False

    @property
    def defaults(self) -> Settings:
        """The settings of rows that say nothing."""
        return Settings.model_construct(**{name: getattr(self, name) for name in Settings.model_fields})

    def replaced(self, said: Mapping[str, Any]) -> Options:
        """Return these options with some said anew. Raises InvalidRequest with all bad ones."""
        try:
            return Options.model_validate({**self.model_dump(exclude_unset=True), **said})
        except ValidationError as error:
            raise InvalidRequest(field_errors(error)) from None

    def replaced_as_json(self, said: Mapping[str, Any]) -> Options:
        """The same by JSON's own types: there, "4" is no number and true is not 1."""
        try:
            text = json.dumps({**self.model_dump(exclude_unset=True, mode="json"), **said})
            return Options.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise InvalidRequest(field_errors(error)) from None


@dataclass(frozen=True)
class Parcel:
    """A body at hand, not yet read: its bytes and what they are. `input_format` is None for JSON."""

    file: IO[bytes]
    size_bytes: int
    name: str
    input_format: InputFormat | None


@asynccontextmanager
async def received(request: Request, options: Options) -> AsyncGenerator[tuple[Parcel, Options]]:
    """Put the body aside; give it with the options that a form's fields say. Raises InvalidInput, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == MULTIPART:
        form = await _form_of(request)
        try:
            yield _uploaded(form.get("file")), options.replaced(_form_fields(form.multi_items()))
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


def opened(parcel: Parcel, options: Options) -> tuple[Iterable[Item], Options]:
    """Return the rows of a parcel, which are read as they are asked for, and the options. Raises InvalidInput."""
    if parcel.input_format is not None:
        return parse_rows(parcel.name, parcel.input_format, parcel.file), options
    if parcel.size_bytes > MAX_JSON_BYTES:
        raise TooLarge(
            f"the JSON has {parcel.size_bytes} bytes, above {MAX_JSON_BYTES}: send JSON lines (application/x-ndjson)"
        )
    said = dict(_parsed(parcel.file))
    defaults = said.pop("defaults", None) or {}
    prompts, jobs = _rows_at("prompts", said.pop("prompts", None)), _rows_at("jobs", said.pop("jobs", None))
    if not isinstance(defaults, dict):
        raise InvalidRequest([FieldError("defaults", "defaults must be an object: settings by name")])
    strange = [name for name in said if name not in ("name", "priority", "repeat", "skip_bad")]
    if strange:
        known = "prompts, jobs, name, priority, defaults, repeat, skip_bad"
        raise InvalidRequest(
            [FieldError(name, f"{name} is nothing that can be said here: {known} is") for name in strange]
        )
    if prompts and jobs:
        raise InvalidRequest([FieldError("jobs", "jobs come beside prompts: send one list or the other")])
    Settings.parse(defaults)  # which also says what is no setting
    return prompts or jobs, options.replaced_as_json({**defaults, **said})


def limited(
    rows: Iterable[Item], repeat: int, store: Store, owner: str, max_rows: int, max_open: int
) -> Iterator[Item]:
    """Hand rows on as long as their jobs are within the limits. Raises TooLarge, TooManyRequests."""
    open_jobs = store.open_jobs(owner) if max_open else 0
    num = 0
    for row in rows:
        num += repeat
        if num > max_rows:
            raise TooLarge(
                f"the submission makes more than {max_rows} jobs, the most that is taken at once: send it in parts, or "
                "raise SIGMAFARM_MAX_ROWS"
            )
        if max_open and open_jobs + num > max_open:
            raise TooManyRequests(
                f"owner {owner} has {open_jobs} open jobs, and may have {max_open}: wait until some are drawn, or "
                "raise SIGMAFARM_MAX_OPEN_JOBS",
                QUOTA_RETRY_S,
            )
        yield row


async def _form_of(request: Request) -> FormData:
    try:
        return await request.form(max_files=1, max_fields=40, max_part_size=SPOOL_BYTES)
    except HTTPException as error:
        raise UnreadableInput(f"the form cannot be read: {error.detail}") from None


def _uploaded(upload: object) -> Parcel:
    if not isinstance(upload, UploadFile):
        raise InvalidRequest([FieldError("file", "file is missing: send the prompts as a file of that name")])
    name = Path(upload.filename or "").name
    said = TYPES.get((upload.content_type or "").partition(";")[0].strip().lower(), InputFormat.TEXT)
    return Parcel(upload.file, upload.size or 0, name[:100] or "file", FORMATS.get(Path(name).suffix.lower(), said))


def _form_fields(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if isinstance(value, str) and value and name != "file"}


def _parsed(file: IO[bytes]) -> dict[str, Any]:
    try:
        value = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        said = f"{error.msg} at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UnreadableInput(f"the body is no JSON ({said})") from None
    if not isinstance(value, dict):
        raise InvalidInput('the body is no object: send {"prompts": [...]} or {"jobs": [...]}')
    return value


def _rows_at(name: str, value: Any) -> list[Item]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest([FieldError(name, f"{name} must be a list")])
    kind, word = (str, "a text") if name == "prompts" else (dict, "an object")
    bad = [
        FieldError(f"{n}.row", f"row {n} is {shown(row)}: must be {word} among {name}") for n, row in _not(kind, value)
    ]
    if bad:
        raise InvalidRequest(bad)
    return value


def _not(kind: type, rows: list[Any]) -> Iterator[tuple[int, Any]]:
    return ((n, row) for n, row in enumerate(rows, start=1) if not isinstance(row, kind))
