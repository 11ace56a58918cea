"""Lists in pages: opaque cursors, filters, and a bound on what one request looks at.

A filter that no index answers is applied to what was read: jobs are looked at a glance (sigmafarm.search), batches are
read whole. After MAX_JOBS, or SCAN_ROWS, a page ends, short or empty, with a cursor to go on from: work is bounded
whatever is searched for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Protocol, TypeVar

from fastapi import Query

from sigmafarm.search import JobFilter, JobOrder, Look, looks_at_batch, looks_at_farm, sorted_jobs
from sigmafarm.search.looking import MAX_BATCHES, MAX_JOBS
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.ids import job_id, split_job_id
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.store.values import Glance
from sigmafarm_common.validation import shown

#: Whole records that one request reads at most, and reads at once.
SCAN_ROWS, READ_ROWS = 2_000, 250
#: The longest page, and the one that nobody asks to be longer.
MAX_LIMIT, DEFAULT_LIMIT = 1_000, 100

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The most that a page holds.")]
#: What cursors look like, for the documentation; others are refused in words of ours.
CURSOR = {"pattern": "^[A-Za-z0-9_-]*={0,2}$"}
Cursor = Annotated[
    str | None, Query(max_length=100, description="`next` of the page before.", json_schema_extra=CURSOR)
]

Owner = Annotated[str, Query(max_length=200, description="Only those of this owner; another's are for admins.")]


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, and where the rest begins."""

    items: list[T]
    next: str | None = None


class Looked(Protocol[T_co]):
    """One reading of the store: what it gave, the place behind it, and how many rows it covered."""

    @property
    def items(self) -> Sequence[T_co]: ...
    @property
    def place(self) -> str: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def num_batches(self) -> int: ...


@dataclass(frozen=True)
class Rows(Generic[T]):
    """Rows that were read."""

    items: list[T]
    place: str
    num_rows: int
    num_batches: int = 0


def jobs_page(
    store: ReadSide, batch: Batch, wanted: JobFilter, *, order: JobOrder = JobOrder.ROW, cursor: str | None, limit: int
) -> Page[Job]:
    """Return jobs of a batch that a filter means, in an order. Raises InvalidRequest for too many to sort."""
    begin = row_of(cursor)
    if not order.is_by_row:
        return _sorted_page(store, sorted_jobs(store, batch, wanted, order), begin, limit)
    if wanted.is_by_state_only:
        looks = (_looks_down if order.is_down else _looks_up)(store, batch, wanted, begin, min(limit + 1, MAX_LIMIT))
        return _gather(looks, lambda job: job.state in (wanted.states or JobState), limit, lambda job: str(job.row))
    looks = looks_at_batch(store, batch, wanted, after=begin, is_down=order.is_down)
    page = _gather((_by_row(look) for look in looks), lambda _: True, limit, lambda each: str(each.row), MAX_JOBS)
    return Page(_whole(store, page.items), page.next)


def farm_jobs_page(
    store: ReadSide, wanted: JobFilter, *, owner: str | None, cursor: str | None, limit: int
) -> Page[Job]:
    """Return jobs of an owner's batches (None: of all) that a filter means, the newest batch first."""
    after = text_of(cursor)
    if after is not None and split_job_id(after) is None:
        raise _bad_cursor(cursor)
    looks = looks_at_farm(store, wanted, owner=owner, after=after)
    page = _gather(looks, lambda _: True, limit, lambda each: job_id(each.batch_id, each.row), MAX_JOBS)
    return Page(_whole(store, page.items), page.next)


def batches_page(
    store: ReadSide, owner: str | None, matches: Callable[[Batch], bool], *, cursor: str | None, limit: int
) -> Page[Batch]:
    """Return batches, newest first."""
    looks = _batch_looks(store, owner, text_of(cursor), min(limit + 1, READ_ROWS))
    return _gather(looks, matches, limit, lambda batch: batch.id)


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


def _gather(
    looks: Iterable[Looked[T]], matches: Callable[[T], bool], limit: int, place: Callable[[T], str], max_rows: int = 0
) -> Page[T]:
    """Return the first `limit` things of some looks; after max_rows (SCAN_ROWS) the page ends, with a cursor to go on
    from."""
    found: list[T] = []
    num_rows = num_batches = 0
    for look in looks:
        for item in look.items:
            if matches(item):
                if len(found) == limit:  # there is one more: the page ends at the last that it holds
                    return Page(found, cursor_of(place(found[-1])))
                found.append(item)
        num_rows += look.num_rows
        num_batches += look.num_batches
        if num_rows >= (max_rows or SCAN_ROWS) or num_batches >= MAX_BATCHES:
            return Page(found, cursor_of(look.place))
    return Page(found)


def _by_row(look: Look) -> Rows[Glance]:
    """Return a look whose place is a row."""
    place = split_job_id(look.place)
    return Rows(look.items, str(place[1]) if place else "0", look.num_rows)


def _whole(store: ReadSide, glances: Sequence[Glance]) -> list[Job]:
    return store.jobs_named([job_id(each.batch_id, each.row) for each in glances])


def _sorted_page(store: ReadSide, glances: Sequence[Glance], after: int | None, limit: int) -> Page[Job]:
    """Return the part of sorted jobs that stands behind a row's place, wherever that is by now."""
    rows = [each.row for each in glances]
    first = 0 if after is None else rows.index(after) + 1 if after in rows else len(rows)
    shown = glances[first : first + limit]
    has_more = first + limit < len(glances)
    return Page(_whole(store, shown), cursor_of(str(shown[-1].row)) if has_more else None)


def _looks_up(store: ReadSide, batch: Batch, wanted: JobFilter, begin: int | None, size: int) -> Iterator[Rows[Job]]:
    """Look at the jobs behind a row, by row; the store's index picks the states."""
    after = -1 if begin is None else begin
    while True:
        states = sorted(wanted.states) or [None]
        parts = [store.jobs(batch.id, state=state, after_row=after, limit=size) for state in states]
        chunk = sorted({job.row: job for part in parts for job in part}.values(), key=lambda job: job.row)[:size]
        if not chunk:
            return
        after = chunk[-1].row
        yield Rows(chunk, str(after), len(chunk))


def _looks_down(store: ReadSide, batch: Batch, wanted: JobFilter, begin: int | None, size: int) -> Iterator[Rows[Job]]:
    """Look at the jobs before a row, last first. Rows are dense: a window of them is read upwards and turned round."""
    end = batch.counts.total if begin is None else min(begin, batch.counts.total)
    state = next(iter(wanted.states)) if len(wanted.states) == 1 else None
    while end > 0:
        first = max(0, end - size)
        chunk = store.jobs(batch.id, state=state, after_row=first - 1, limit=end - first)
        yield Rows([job for job in reversed(chunk) if job.row < end], str(first), end - first)
        end = first


def _batch_looks(store: ReadSide, owner: str | None, before: str | None, size: int) -> Iterator[Rows[Batch]]:
    while chunk := store.batches(owner=owner, limit=size, before=before):
        before = chunk[-1].id
        yield Rows(chunk, before, len(chunk))


def _bad_cursor(cursor: str | None) -> InvalidRequest:
    return InvalidRequest([FieldError("cursor", f"cursor is {shown(cursor)}: must be `next` of the page before")])
