"""Looks at jobs, a thousand at once and a bounded number in all, and keeps those that a filter means.

Nothing is indexed by word: a look at ten thousand jobs takes a fraction of a second (see `Decisions` in the producer's
README). What lies behind the bound is looked at from the place where the look before ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sigmafarm.search.job_filter import JobFilter
from sigmafarm.search.order import JobOrder
from sigmafarm_common.errors import FieldError, InvalidRequest, NotFound
from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState
from sigmafarm_common.store.ids import job_id, split_job_id
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.store.values import Glance, Span

#: Jobs that one search looks at, and those that it reads at once.
MAX_JOBS, READ_JOBS = 20_000, 1_000
#: Rows that one reading spans where an index picks few of them.
MAX_SPAN_ROWS = 50_000
#: Batches that one search over many looks at, and those that it reads at once.
MAX_BATCHES, READ_BATCHES = 2_000, 100


@dataclass(frozen=True)
class Look:
    """One reading: the jobs in it that are meant, the last job that it covered, and how many were looked at."""

    items: list[Glance]
    place: str
    num_rows: int
    num_batches: int = 0


@dataclass
class Found:
    """What a bounded search came to."""

    #: The ids of those that were found, in order, and how many of them have a picture.
    ids: list[str] = field(default_factory=list[str])
    num_drawn: int = 0
    #: How many were looked at, and whether those were all.
    num_seen: int = 0
    is_complete: bool = True

    @property
    def num(self) -> int:
        return len(self.ids)

    def add(self, glances: Iterable[Glance]) -> None:
        """Note jobs that were found."""
        for each in glances:
            self.ids.append(job_id(each.batch_id, each.row))
            self.num_drawn += each.state is JobState.SUCCEEDED


def find_jobs(
    store: ReadSide, batch: Batch, wanted: JobFilter, *, is_down: bool = False, is_bounded: bool = True
) -> Found:
    """Return the jobs of a batch that a filter means, among the first MAX_JOBS of its states if that is the bound."""
    return _found(looks_at_batch(store, batch, wanted, is_down=is_down), is_bounded=is_bounded)


def find_jobs_of_farm(
    store: ReadSide, wanted: JobFilter, *, owner: str | None = None, is_bounded: bool = True
) -> Found:
    """Return the jobs of an owner's batches (None: of all) that a filter means, the newest batch's first."""
    return _found(looks_at_farm(store, wanted, owner=owner), is_bounded=is_bounded)


def found_in(glances: Sequence[Glance], num_seen: int) -> Found:
    """Return jobs that were found already as what a whole search came to."""
    found = Found(num_seen=num_seen)
    found.add(glances)
    return found


def looks_at_batch(
    store: ReadSide, batch: Batch, wanted: JobFilter, *, after: int | None = None, is_down: bool = False
) -> Iterator[Look]:
    """Look at the jobs of a batch by row, from behind a row on, or before it."""
    total = batch.counts.total
    size = _span_rows(batch, wanted)
    if is_down:
        end = total if after is None else min(after, total)
        spans = ((max(0, at - size), at) for at in range(end, 0, -size))
    else:
        spans = ((at, min(at + size, total)) for at in range(0 if after is None else after + 1, total, size))
    for first, last in spans:
        glances = _glances(store, [Span(batch, first, last)], wanted)
        hits = [each for each in glances if wanted.matches(each)]
        place = job_id(batch.id, first if is_down else last - 1)
        yield Look(hits[::-1] if is_down else hits, place, len(glances))


def looks_at_farm(
    store: ReadSide, wanted: JobFilter, *, owner: str | None = None, after: str | None = None
) -> Iterator[Look]:
    """Look at the jobs of many batches, the newest batch first and each by row, from behind a job on."""
    place = split_job_id(after) if after else None
    try:
        rest = [store.batch(place[0])] if place else []
    except NotFound:  # forgotten since: what came behind it was older still, and is gone too
        return
    rest = [batch for batch in rest if owner in (None, batch.owner)]
    spans: list[Span] = []
    num_rows = num_batches = 0
    for batch in _batches(store, rest, owner):
        first = place[1] + 1 if place and batch.id == place[0] else 0
        num_batches += 1
        for at in range(first, batch.counts.total, READ_JOBS):
            end = min(at + READ_JOBS, batch.counts.total)
            spans.append(Span(batch, at, end))
            num_rows += end - at
            if num_rows >= READ_JOBS:
                yield _look_at(store, spans, wanted, num_batches)
                spans, num_rows, num_batches = [], 0, 0
        if num_batches >= READ_BATCHES and spans:
            yield _look_at(store, spans, wanted, num_batches)
            spans, num_rows, num_batches = [], 0, 0
    if spans:
        yield _look_at(store, spans, wanted, num_batches)


def sorted_jobs(
    store: ReadSide, batch: Batch, wanted: JobFilter, order: JobOrder, *, is_bounded: bool = True
) -> list[Glance]:
    """Return the jobs of a batch that a filter means, in an order. Raises InvalidRequest for more than MAX_JOBS, if
    that is the bound."""
    num = _num_in_states(batch, wanted)
    if is_bounded and num > MAX_JOBS:
        raise InvalidRequest(
            [
                FieldError(
                    "sort", f"sort is {order}: {num:,} jobs are too many, {MAX_JOBS:,} can be sorted; name a state"
                )
            ]
        )
    glances = store.glances(
        [Span(batch, 0, batch.counts.total)],
        states=wanted.wanted_states or (),
        has_request=wanted.has_request or order.key in ("seed", "steps"),
        has_fate=wanted.has_fate or order.has_fate,
    )
    return order.sort(each for each in glances if wanted.matches(each))


def _look_at(store: ReadSide, spans: list[Span], wanted: JobFilter, num_batches: int) -> Look:
    glances = _glances(store, spans, wanted)
    last = spans[-1]
    hits = [each for each in glances if wanted.matches(each)]
    return Look(hits, job_id(last.batch.id, last.end - 1), len(glances), num_batches)


def _glances(store: ReadSide, spans: list[Span], wanted: JobFilter) -> list[Glance]:
    states = wanted.wanted_states
    if states is not None and not states:  # a state in the search that the filter leaves out
        return []
    return store.glances(spans, states=states or (), has_request=wanted.has_request, has_fate=wanted.has_fate)


def _span_rows(batch: Batch, wanted: JobFilter) -> int:
    """Return how many rows to span at once, so that about READ_JOBS of them are read."""
    rows = READ_JOBS * batch.counts.total // max(1, _num_in_states(batch, wanted))
    return max(READ_JOBS, min(rows, MAX_SPAN_ROWS))


def _num_in_states(batch: Batch, wanted: JobFilter) -> int:
    states: Iterable[JobState] = JobState if wanted.wanted_states is None else wanted.wanted_states
    return sum(getattr(batch.counts, state) for state in states)


def _batches(store: ReadSide, first: list[Batch], owner: str | None) -> Iterator[Batch]:
    yield from first
    before = first[-1].id if first else None
    while chunk := store.batches(owner=owner, limit=READ_BATCHES, before=before):
        yield from chunk
        before = chunk[-1].id


def _found(looks: Iterator[Look], *, is_bounded: bool) -> Found:
    found = Found()
    num_batches = 0
    for look in looks:
        if is_bounded and (found.num_seen >= MAX_JOBS or num_batches >= MAX_BATCHES):
            found.is_complete = False
            break
        found.add(look.items)
        found.num_seen += look.num_rows
        num_batches += look.num_batches
    return found
