"""What lists of jobs are searched and sorted by, read at a glance: ten thousand jobs in a fraction of a second.

There is no index of words in Redis: it would cost each job as much as its prompt does. Requests are read by MGET, a
thousand at once, and parsed, not checked; states come from the indexes of the batch. ReadSide says what each gives.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sigmafarm_common.states import JobState
from sigmafarm_common.store.ids import job_id
from sigmafarm_common.store.packing import names_in, unpacked
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Part, chunks
from sigmafarm_common.store.redis.stored_records import warnings_from, whole
from sigmafarm_common.store.values import Glance, Span

#: Jobs that one command reads, or one pipeline: well under a millisecond of the server.
GLANCED_PER_CALL = 1000
#: What became of a job, as its hash has it.
_FATE = ("worker", "error_code", "error", "warnings", "started", "finished", "rating")


class _Place(NamedTuple):
    """A job that is looked at."""

    batch_id: str
    row: int
    state: JobState


class Glancing(Part):
    """Reads a little of many jobs."""

    @guarded
    def glances(
        self,
        spans: Sequence[Span],
        *,
        states: Collection[JobState] = (),
        has_request: bool = True,
        has_fate: bool = False,
    ) -> list[Glance]:
        found: list[Glance] = []
        for places in chunks(self._places(spans, states), GLANCED_PER_CALL):
            requests: Sequence[Mapping[str, Any] | None] = self._requests(places) if has_request else [{}] * len(places)
            fates = self._fates(places) if has_fate else [()] * len(places)
            found += [
                Glance(*place, request, *fate)
                for place, request, fate in zip(places, requests, fates, strict=True)
                if request is not None
            ]
        return found

    def _places(self, spans: Sequence[Span], states: Collection[JobState]) -> list[_Place]:
        """Return the jobs of spans, each with its state. A batch of one state needs no look at its indexes."""
        pipeline = self._redis.client.pipeline(transaction=False)
        asked: list[list[JobState]] = []
        for span in spans:
            there = [state for state in JobState if getattr(span.batch.counts, state)]
            asked.append([] if len(there) == 1 else [s for s in there if not states or s in states])
            for state in asked[-1]:
                key = self._redis.key("batch", span.batch.id, state)
                pipeline.zrangebyscore(key, span.first, f"({span.end}")
        answers = iter(self._redis.answers(pipeline)) if any(asked) else iter(())
        return [
            place for span, each in zip(spans, asked, strict=True) for place in _in_span(span, each, answers, states)
        ]

    def _requests(self, places: Sequence[_Place]) -> list[Mapping[str, Any] | None]:
        """Return the settings of jobs, None for one without a record."""
        keys = [self._redis.key("job", job_id(place.batch_id, place.row), "request") for place in places]
        records: list[str | None] = self._redis.client.mget(keys)
        shared: dict[str, set[str]] = {}
        for place, record in zip(places, records, strict=True):
            if record and record[0] != "{":
                shared.setdefault(place.batch_id, set()).update(names_in(record))
        texts = self._shared_texts(shared)
        return [_settings_in(record, texts.get(place[0], {})) for place, record in zip(places, records, strict=True)]

    def _shared_texts(self, names: Mapping[str, Collection[str]]) -> dict[str, dict[str, str]]:
        """Return the texts that rows of batches share, by batch and name."""
        wanted = {batch_id: sorted(each) for batch_id, each in names.items()}
        pipeline = self._redis.client.pipeline(transaction=False)
        for batch_id, each in wanted.items():
            pipeline.hmget(self._redis.key("batch", batch_id, "texts"), each)
        answers = self._redis.answers(pipeline) if wanted else []
        return {
            batch_id: {name: text for name, text in zip(each, found or [None] * len(each), strict=True) if text}
            for (batch_id, each), found in zip(wanted.items(), answers, strict=True)
        }

    def _fates(self, places: Sequence[_Place]) -> list[tuple[Any, ...]]:
        """Return the last fields of glances: what became of each job."""
        pipeline = self._redis.client.pipeline(transaction=False)
        for place in places:
            pipeline.hmget(self._redis.key("job", job_id(place.batch_id, place.row)), _FATE)
        return [_fate(said or [None] * len(_FATE)) for said in self._redis.answers(pipeline)]


def _in_span(
    span: Span, asked: Sequence[JobState], answers: Iterator[Any], states: Collection[JobState]
) -> list[_Place]:
    """Return the jobs of a span in row order, by the answers of its batch's indexes."""
    batch_id, counts = span.batch.id, span.batch.counts
    if asked:
        found = [_Place(batch_id, int(row), state) for state in asked for row in next(answers) or () if row.isdigit()]
        return sorted(found)
    there = [state for state in JobState if getattr(counts, state)]
    if len(there) != 1 or (states and there[0] not in states):
        return []
    return [_Place(batch_id, row, there[0]) for row in range(span.first, min(span.end, counts.total))]


def _settings_in(record: str | None, texts: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return what a stored request says; nothing of one that was spoiled."""
    if record is None:
        return None
    try:
        value = json.loads((record if record[:1] == "{" else unpacked(record, texts)) or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _fate(said: Sequence[str | None]) -> tuple[Any, ...]:
    worker, code, error, warnings, started, finished, rating = said
    codes = tuple(each.code for each in warnings_from(warnings)) if warnings else ()
    return worker or "", code or "", error or "", codes, whole(started), whole(finished), whole(rating)
