"""What is asked of the store: batches, jobs, workers, models, queues, events, figures. ReadSide says what each is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sigmafarm_common.records import Batch, Job, ModelCard, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import EVENT_ID, is_batch_id, split_job_id
from sigmafarm_common.store.ids import job_id as make_job_id
from sigmafarm_common.store.measures import measured_from
from sigmafarm_common.store.packing import names_in, unpacked
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Part, chunks, in_ms
from sigmafarm_common.store.redis.server_findings import read_memory
from sigmafarm_common.store.redis.stored_records import (
    batch_from,
    event_from,
    job_from,
    moments_from,
    numbers_in,
    pace_from,
    parsed,
    whole,
)
from sigmafarm_common.store.values import PACE_ENTRIES, PACE_S, Event, Measured, Memory, Moment, Pace, Rounds


class Reading(Part):
    """Reads; changes nothing. Each question about the farm is answered by a constant number of commands."""

    @guarded
    def batch(self, batch_id: str) -> Batch:
        fields = self._redis.ask("hgetall", self._redis.key("batch", batch_id)) if is_batch_id(batch_id) else {}
        batch = batch_from(batch_id, fields or {})
        if batch is None:
            raise refusals.no_batch(batch_id)
        return batch

    @guarded
    def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        listed = self._redis.key("batches") if owner is None else self._redis.key("batches", owner)
        rank = self._redis.ask("zrevrank", listed, before) if before else None
        start, found = 0 if rank is None else rank + 1, list[Batch]()
        while len(found) < limit:  # a member without a record is left out, and must not make the list end early
            ids = self._redis.ask("zrevrange", listed, start, start + limit - len(found) - 1)
            if not ids:
                break
            found += self._read_batches(ids)
            start += len(ids)
        return found

    def _read_batches(self, ids: Sequence[str]) -> list[Batch]:
        pipeline = self._redis.client.pipeline(transaction=False)
        for batch_id in ids:
            pipeline.hgetall(self._redis.key("batch", batch_id))
        batches = [batch_from(i, fields or {}) for i, fields in zip(ids, self._redis.answers(pipeline), strict=True)]
        return [b for b in batches if b is not None]

    @guarded
    def job(self, job_id: str) -> Job:
        place = split_job_id(job_id)
        jobs = self._read_jobs(place[0], [place[1]]) if place else []
        if not jobs:
            raise refusals.no_job(job_id)
        return jobs[0]

    @guarded
    def jobs_named(self, job_ids: Sequence[str]) -> list[Job]:
        rows: dict[str, list[int]] = {}
        for place in filter(None, map(split_job_id, job_ids)):
            rows.setdefault(place[0], []).append(place[1])
        found = {job.id: job for batch_id in rows for job in self._read_jobs(batch_id, rows[batch_id])}
        return [found[job_id] for job_id in job_ids if job_id in found]

    @guarded
    def first_pictures(self, batch_ids: Sequence[str], *, num: int = 3) -> dict[str, list[str]]:
        pipeline = self._redis.client.pipeline(transaction=False)
        for batch_id in batch_ids:
            pipeline.zrange(self._redis.key("batch", batch_id, JobState.SUCCEEDED), 0, num - 1)
        answers = zip(batch_ids, self._redis.answers(pipeline) if batch_ids else [], strict=True)
        found = {i: [make_job_id(i, int(row)) for row in rows or () if row.isdigit()] for i, rows in answers}
        return {batch_id: ids for batch_id, ids in found.items() if ids}

    @guarded
    def jobs(self, batch_id: str, *, state: JobState | None = None, after_row: int = -1, limit: int = 100) -> list[Job]:
        if not is_batch_id(batch_id):
            return []
        while rows := self._rows(batch_id, [state] if state else list(JobState), after_row, limit):
            if jobs := self._read_jobs(batch_id, rows):
                return jobs
            after_row = rows[-1]  # none of them has a record: what is behind them must be found all the same
        return []

    def _rows(self, batch_id: str, states: Sequence[JobState], after_row: int, limit: int) -> list[int]:
        pipeline = self._redis.client.pipeline(transaction=False)
        for each in states:
            key = self._redis.key("batch", batch_id, each)
            pipeline.zrangebyscore(key, f"({after_row}", "+inf", start=0, num=limit)
        rows = {int(row) for part in self._redis.answers(pipeline) for row in part or () if row.isdigit()}
        return sorted(row for row in rows if row > after_row)[:limit]

    def _read_jobs(self, batch_id: str, rows: Sequence[int]) -> list[Job]:
        pipeline = self._redis.client.pipeline(transaction=False)
        pipeline.hgetall(self._redis.key("batch", batch_id))
        for row in rows:
            key = self._redis.key("job", make_job_id(batch_id, row))
            pipeline.hgetall(key).get(f"{key}:request").lrange(f"{key}:history", 0, -1)
        batch, *parts = self._redis.answers(pipeline)
        if not batch:
            return []
        texts = self._texts(batch_id, parts[1::3])
        records = zip(rows, chunks(parts, 3), strict=True)
        jobs = [
            job_from(make_job_id(batch_id, row), batch, fields or {}, unpacked(request or "", texts), history or ())
            for row, (fields, request, history) in records
        ]
        return [j for j in jobs if j is not None]

    def _texts(self, batch_id: str, records: Iterable[str | None]) -> dict[str, str]:
        """Return the texts that some rows of a batch share, by name."""
        names = sorted({name for record in records if record for name in names_in(record)})
        if not names:
            return {}
        texts = self._redis.ask("hmget", self._redis.key("batch", batch_id, "texts"), names) or [None] * len(names)
        return {name: text for name, text in zip(names, texts, strict=True) if text is not None}

    @guarded
    def workers(self) -> list[WorkerInfo]:
        seen = self._redis.ask("zrange", self._redis.key("workers"), 0, -1)
        records = self._redis.client.mget([self._redis.key("worker", w) for w in seen]) if seen else []
        drained, now_ms = self._redis.ask("smembers", self._redis.key("draining")) or (), self._redis.now_ms()
        workers = parsed(WorkerInfo, records)
        living = sorted((w for w in workers if now_ms - w.seen_ms <= self._redis.alive_ms), key=lambda w: w.id)
        return [w.model_copy(update={"is_draining": True}) if w.id in drained else w for w in living]

    @guarded
    def models(self) -> list[ModelCard]:
        cards = self._redis.ask("hgetall", self._redis.key("models")) or {}
        return parsed(ModelCard, [cards[name] for name in sorted(cards)])

    @guarded
    def events(self, *, after: str = "$", limit: int = 100, block_s: float = 0) -> list[Event]:
        if not EVENT_ID.fullmatch(after):
            raise refusals.no_event_id(after)
        # A blocking read must end before the socket's own timeout does.
        block_ms = in_ms(min(block_s, self._redis.config.redis_timeout_s / 2)) or None
        streams = self._redis.ask("xread", {self._redis.key("events"): after}, count=limit, block=block_ms) or ()
        return [event_from(event_id, fields) for _, entries in streams for event_id, fields in entries]

    @guarded
    def last_events(self, *, limit: int = 100) -> list[Event]:
        entries = self._redis.ask("xrevrange", self._redis.key("events"), count=limit) or ()
        return [event_from(event_id, fields) for event_id, fields in entries]

    @guarded
    def failures(self, batch_id: str) -> dict[str, int]:
        if not is_batch_id(batch_id):
            return {}
        return numbers_in(self._redis.ask("hgetall", self._redis.key("batch", batch_id, "failures")) or {})

    @guarded
    def held_jobs(self, worker_id: str) -> list[str]:
        return sorted(self._redis.ask("smembers", self._redis.key("worker", worker_id, "jobs")) or ())

    @guarded
    def pace(self) -> list[Pace]:
        newest = self._redis.now_ms() // (PACE_S * 1000)
        return pace_from(self._redis.ask("hgetall", self._redis.key("pace")) or {}, since=newest - PACE_ENTRIES)

    @guarded
    def moments(self) -> list[Moment]:
        newest = self._redis.now_ms() // (PACE_S * 1000)
        return moments_from(self._redis.ask("hgetall", self._redis.key("pace")) or {}, since=newest - PACE_ENTRIES)

    @guarded
    def totals(self) -> dict[str, int]:
        return numbers_in(self._redis.ask("hgetall", self._redis.key("totals")) or {})

    @guarded
    def trace_of(self, batch_id: str) -> str:
        if not is_batch_id(batch_id):
            return ""
        return self._redis.ask("hget", self._redis.key("batch", batch_id), "trace") or ""

    @guarded
    def measured(self) -> list[Measured]:
        return measured_from(numbers_in(self._redis.ask("hgetall", self._redis.key("measured")) or {}))

    @guarded
    def memory(self) -> Memory:
        return read_memory(self._redis.client)

    @guarded
    def open_jobs(self, owner: str) -> int:
        return whole(self._redis.ask("hget", self._redis.key("open_jobs"), owner))

    @guarded
    def rounds(self) -> Rounds:
        said = self._redis.ask("hgetall", self._redis.key("rounds")) or {}
        return Rounds(whole(said.get("good")), whole(said.get("failed")), said.get("error", ""))

    @guarded
    def now_ms(self) -> int:
        return self._redis.now_ms()
