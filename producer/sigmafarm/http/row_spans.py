"""Rows of a batch as an address says them, `0-4,9`: short for neighbours, so that thousands fit into a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

from fastapi import Query

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Job
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.validation import shown

#: Characters that the rows of an address have at most (servers take no longer lines), and jobs that are read at once.
MAX_CHARS, PAGE_JOBS = 4_000, 250
_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)

Span = tuple[int, int]
Rows = Annotated[
    str,
    Query(max_length=MAX_CHARS, examples=["0-4,9"], description="Only these rows: numbers and spans with commas."),
]


def spans_of(text: str) -> list[Span]:
    """Return the spans, first and last row, that a text says, in order and none twice. Raises InvalidRequest."""
    found: list[Span] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        said = _SPAN.fullmatch(part)
        first, last = (int(said[1]), int(said[2] or said[1])) if said else (1, 0)
        if first > last:
            must = "must be numbers and spans with commas between them, such as 0-4,9"
            raise InvalidRequest([FieldError("rows", f"rows has {shown(part)}: {must}")])
        found.append((first, last))
    return _joined(found)


def text_of(rows: Iterable[int]) -> str:
    """Return rows as an address says them."""
    spans = _joined([(row, row) for row in rows])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def jobs_in(store: ReadSide, batch_id: str, spans: Iterable[Span]) -> Iterator[Job]:
    """Yield the jobs of a batch in these spans, by row, a page at a time. Rows that there are none of give nothing."""
    for first, last in spans:
        after = first - 1
        while after < last and (jobs := store.jobs(batch_id, after_row=after, limit=min(PAGE_JOBS, last - after))):
            yield from (job for job in jobs if job.row <= last)
            after = jobs[-1].row


def _joined(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found
