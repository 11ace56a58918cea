"""Lists in pages: opaque cursors, filters, and a bound on what one request looks at.

A filter that no index answers is applied to what was read. After SCAN_ROWS a page ends, short or empty, with a cursor
to go on from: work is bounded whatever is searched for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query

from sigmafarm.http.job_filter import JobFilter
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.validation import shown

#: Records that one request reads at most, and reads at once.
SCAN_ROWS, READ_ROWS = 2_000, 250
#: The longest page, and the one that nobody asks to be longer.
MAX_LIMIT, DEFAULT_LIMIT = 1_000, 100

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The most that a page holds.")]
#: What cursors look like, for the documentation; others are refused in words of ours.
CURSOR = {"pattern": "^[A-Za-z0-9_-]*={0,2}$"}
Cursor = Annotated[
    str | None, Query(max_length=100, description="`next` of the page before.", json_schema_extra=CURSOR)
]


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, and where the rest begins."""

    items: list[T]
    next: str | None = None


@dataclass(frozen=True)
class Look(Generic[T]):
    """One reading of the store: what it gave, the place behind it, and how many rows it covered."""

    items: list[T]
    place: str
    num_rows: int


def jobs_page(
    store: ReadSide, batch: Batch, wanted: JobFilter, *, is_down: bool, cursor: str | None, limit: int
) -> Page[Job]:
    """Return jobs of a batch that a filter means, by row."""
    begin = row_of(cursor)
    size = min(limit + 1, MAX_LIMIT) if wanted.is_by_state_only else READ_ROWS
    looks = (_looks_down if is_down else _looks_up)(store, batch, wanted, begin, size)
    return _gather(looks, wanted.matches, limit, lambda job: str(job.row))


def batches_page(
    store: ReadSide, owner: str | None, matches: Callable[[Batch], bool], *, cursor: str | None, limit: int
) -> Page[Batch]:
    """Return batches, newest first."""
    looks = _batch_looks(store, owner, text_of(cursor), min(limit + 1, READ_ROWS))
    return _gather(looks, matches, limit, lambda batch: batch.id)


def matching_jobs(store: ReadSide, batch: Batch, wanted: JobFilter, max_rows: int) -> tuple[list[Job], bool]:
    """Return the jobs that a filter means among the first `max_rows` looked at, and whether those were all."""
    found: list[Job] = []
    num_rows = 0
    for look in _looks_up(store, batch, wanted, None, READ_ROWS):
        found += [job for job in look.items if wanted.matches(job)]
        num_rows += look.num_rows
        if num_rows >= max_rows:
            return found, False
    return found, True


def cursor_of(text: str) -> str:
    """Return the cursor that stands for a place."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def text_of(cursor: str | None) -> str | None:
    """Return the place that a cursor stands for. Raises InvalidRequest for one that is none of ours."""
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise _bad_cursor(cursor) from None


def row_of(cursor: str | None) -> int | None:
    """Return the row that a cursor stands for. Raises InvalidRequest."""
    text = text_of(cursor)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise _bad_cursor(cursor)
    return int(text)


def _gather(looks: Iterator[Look[T]], matches: Callable[[T], bool], limit: int, place: Callable[[T], str]) -> Page[T]:
    found: list[T] = []
    num_rows = 0
    for look in looks:
        for item in look.items:
            if matches(item):
                if len(found) == limit:  # there is one more: the page ends at the last that it holds
                    return Page(found, cursor_of(place(found[-1])))
                found.append(item)
        num_rows += look.num_rows
        if num_rows >= SCAN_ROWS:
            return Page(found, cursor_of(look.place))
    return Page(found)


def _looks_up(store: ReadSide, batch: Batch, wanted: JobFilter, begin: int | None, size: int) -> Iterator[Look[Job]]:
    """Look at the jobs behind a row, by row; the store's index picks the states."""
    after = -1 if begin is None else begin
    while True:
        states = sorted(wanted.states) or [None]
        parts = [store.jobs(batch.id, state=state, after_row=after, limit=size) for state in states]
        chunk = sorted({job.row: job for part in parts for job in part}.values(), key=lambda job: job.row)[:size]
        if not chunk:
            return
        after = chunk[-1].row
        yield Look(chunk, str(after), len(chunk))


def _looks_down(store: ReadSide, batch: Batch, wanted: JobFilter, begin: int | None, size: int) -> Iterator[Look[Job]]:
    """Look at the jobs before a row, last first. Rows are dense: a window of them is read upwards and turned round."""
    end = batch.counts.total if begin is None else min(begin, batch.counts.total)
    state = next(iter(wanted.states)) if len(wanted.states) == 1 else None
    while end > 0:
        first = max(0, end - size)
        chunk = store.jobs(batch.id, state=state, after_row=first - 1, limit=end - first)
        yield Look([job for job in reversed(chunk) if job.row < end], str(first), end - first)
        end = first


def _batch_looks(store: ReadSide, owner: str | None, before: str | None, size: int) -> Iterator[Look[Batch]]:
    while chunk := store.batches(owner=owner, limit=size, before=before):
        before = chunk[-1].id
        yield Look(chunk, before, len(chunk))


def _bad_cursor(cursor: str | None) -> InvalidRequest:
    return InvalidRequest([FieldError("cursor", f"cursor is {shown(cursor)}: must be `next` of the page before")])
