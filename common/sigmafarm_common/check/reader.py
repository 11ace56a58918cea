"""Reads for the checker. What is judged together is read in one MULTI, so that a busy farm cannot tear it.

A farm of any size is read in pages: PAGE_JOBS jobs at a time, and the ids of its batches and of its events, never more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sigmafarm_common.check.seen import BatchSeen, Entry, FarmSeen, JobSeen, LinkSeen, Place, QueueSeen
from sigmafarm_common.check.spoiled import JOB_NUMBERS
from sigmafarm_common.states import BatchPhase, JobState
from sigmafarm_common.store.ids import is_batch_id, job_id
from sigmafarm_common.store.packing import names_in, unpacked
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Keyspace, chunks

#: Jobs that one MULTI reads: it holds the server up for a millisecond or two.
PAGE_JOBS = 300
#: Keys, ids and events that one call reads.
PAGE_KEYS = 1000
#: The fields of a job that rules look at.
JOB_FIELDS = (
    *("state", "batch", "row", "model", "token", "worker", "image_key", "sha256", "cost"),
    *JOB_NUMBERS,
)

#: The hashes that sum up what is open, by owner and by model.
SUMS = ("open_jobs", "open_work", "open_bytes")


@dataclass(frozen=True)
class Layout:
    """Which keys the farm has, as far as their names are not known beforehand."""

    #: Batches with a record, and those that are listed.
    batch_ids: tuple[str, ...]
    leased_models: tuple[str, ...]
    dispatched_models: tuple[str, ...]
    #: Workers that are known, or hold jobs.
    holders: tuple[str, ...]
    #: The sets of the queue, without the namespace: queue:{model}[:{priority}[:{owner}]].
    queue_keys: tuple[str, ...]


class Reader:
    """The farm's records on one server, read only. Every method raises what a store's raise."""

    def __init__(self, redis: Keyspace):
        self._redis = self.redis = redis

    @guarded
    def layout(self) -> Layout:
        """Look through the names of all keys."""
        batches: set[str] = set(self._redis.ask("zrange", self._redis.key("batches"), 0, -1) or ())
        found: dict[str, set[str]] = {"leases": set(), "dispatched": set(), "worker": set(), "queue": set()}
        for key in self._redis.client.scan_iter(match=f"{self._redis.key('')}[bldqw]*", count=PAGE_KEYS):
            kind, _, rest = str(key).removeprefix(self._redis.prefix).partition(":")
            if kind == "batch" and is_batch_id(rest):
                batches.add(rest)
            elif kind == "worker" and rest.endswith(":jobs"):
                found[kind].add(rest.removesuffix(":jobs"))
            elif kind == "queue" and not rest.endswith("/clock"):
                found[kind].add(f"queue:{rest}")
            elif kind in ("leases", "dispatched"):
                found[kind].add(rest)
        found["worker"] |= set(self._redis.ask("zrange", self._redis.key("workers"), 0, -1) or ())
        rows = (tuple(sorted(found[kind])) for kind in ("leases", "dispatched", "worker", "queue"))
        return Layout(tuple(sorted(batches)), *rows)

    # -- a batch and its jobs

    @guarded
    def batch(self, batch_id: str) -> BatchSeen:
        """Read a batch; without a record it has no fields."""
        key = self._redis.key("batch", batch_id)
        owner, priority = self._redis.ask("hmget", key, "owner", "priority") or (None, None)
        models = sorted(self._redis.ask("smembers", f"{key}:models") or ())
        pipe = self._redis.client.pipeline(transaction=True)
        pipe.hgetall(key).zscore(self._redis.key("batches"), batch_id)
        pipe.zscore(self._redis.key("batches", owner or ""), batch_id).hvals(f"{key}:failures")
        pipe.zscore(self._redis.key("finished"), batch_id).zscore(self._redis.key("concluded"), batch_id)
        pipe.sismember(self._redis.key("cancelling"), batch_id)
        for state in JobState:
            pipe.zcard(f"{key}:{state}")
        for model in models:
            level = self._redis.key("queue", model, priority or "")
            pipe.zcard(f"{key}:ready:{model}").sismember(self._redis.key("queue_models"), model)
            pipe.zscore(self._redis.key("queue", model), priority or "").zscore(level, owner or "")
            pipe.zscore(f"{level}:{owner}", batch_id)
        fields, listed, own, failures, due, concluded, cancelling, *rest = self._redis.answers(pipe)
        sizes = {state: size or 0 for state, size in zip(JobState, rest, strict=False)}
        links = chunks(rest[len(JobState) :], 5)
        return BatchSeen(
            id=batch_id,
            fields=fields or {},
            index_sizes=sizes,
            links=tuple(_link(model, link) for model, link in zip(models, links, strict=True)),
            is_listed=listed is not None and own is not None,
            num_failures=sum(int(n) for n in failures or () if n.isdigit()),
            is_due=due is not None,
            is_concluded=concluded is not None,
            is_cancel_pending=bool(cancelling),
        )

    def jobs(self, batch: BatchSeen, layout: Layout) -> Iterator[list[JobSeen]]:
        """Yield every row of a batch, a page at a time, whether there is a job or not."""
        for first in range(0, batch.num_rows, PAGE_JOBS):
            yield self._page(batch, [*range(first, min(first + PAGE_JOBS, batch.num_rows))], layout)

    @guarded
    def _page(self, batch: BatchSeen, rows: list[int], layout: Layout) -> list[JobSeen]:
        ids = [job_id(batch.id, row) for row in rows]
        answers = iter(self._ask_about(batch, rows, ids, layout))
        is_cancelling, delayed = next(answers) == "1", next(answers)
        states = [*islice(answers, len(JobState))]
        of_models = [*islice(answers, 3 * len(batch.models))]
        held = [*islice(answers, len(layout.holders))]
        records = [*answers]
        texts = self._texts(batch.id, [records[3 * n + 1] for n in range(len(ids))])
        return [
            JobSeen(
                id=ids[n],
                batch_id=batch.id,
                row=row,
                fields={f: v for f, v in zip(JOB_FIELDS, records[3 * n] or (), strict=False) if v is not None},
                has_request=records[3 * n + 1] is not None,
                request=unpacked(records[3 * n + 1] or "", texts) or "",
                history=tuple(records[3 * n + 2] or ()),
                is_batch_cancelling=is_cancelling,
                indexes=_named(JobState, states, n),
                ready=_named(batch.models, of_models[0::3], n),
                dispatched=_named(batch.models, of_models[1::3], n),
                leased=_named(batch.models, of_models[2::3], n),
                is_delayed=bool(delayed) and delayed[n] is not None,
                holders=frozenset(w for w, jobs in zip(layout.holders, held, strict=True) if ids[n] in (jobs or ())),
            )
            for n, row in enumerate(rows)
        ]

    def _ask_about(self, batch: BatchSeen, rows: list[int], ids: list[str], layout: Layout) -> list[Any]:
        """Ask for everything about a page of jobs in one stroke, and return the answers in the order of asking."""
        key = self._redis.key("batch", batch.id)
        pipe = self._redis.client.pipeline(transaction=True)
        pipe.hget(key, "cancelling").zmscore(self._redis.key("delayed"), ids)
        for state in JobState:
            pipe.zmscore(f"{key}:{state}", rows)
        for model in batch.models:
            pipe.zmscore(f"{key}:ready:{model}", rows)
            pipe.zmscore(self._redis.key("dispatched", model), ids).zmscore(self._redis.key("leases", model), ids)
        for worker in layout.holders:
            pipe.smembers(self._redis.key("worker", worker, "jobs"))
        for each in ids:
            pipe.hmget(self._redis.key("job", each), JOB_FIELDS).get(self._redis.key("job", each, "request"))
            pipe.lrange(self._redis.key("job", each, "history"), 0, -1)
        return self._redis.answers(pipe)

    def _texts(self, batch_id: str, records: Sequence[str | None]) -> dict[str, str]:
        names = sorted({name for record in records if record for name in names_in(record)})
        texts = (self._redis.ask("hmget", self._redis.key("batch", batch_id, "texts"), names) if names else None) or ()
        return {name: text for name, text in zip(names, texts, strict=False) if text is not None}

    # -- the farm

    def farm(self, layout: Layout) -> FarmSeen:
        """Read what belongs to no single batch. Not in one stroke: what looks wrong may have moved meanwhile."""
        return FarmSeen(
            entries=tuple(self._entries(layout)),
            queues=tuple(self._queues(layout)),
            strangers=tuple(self._strangers()),
            sums=tuple(self._sums()),
        )

    @guarded
    def _entries(self, layout: Layout) -> list[Entry]:
        places = [(Place.LEASES, m) for m in layout.leased_models]
        places += [(Place.DISPATCHED, m) for m in layout.dispatched_models]
        found = [(p, name, i) for p, name in places for i in self._ids(p, name)]
        found += [(Place.DELAYED, "", i) for i in self._ids("delayed")]
        for worker in layout.holders:
            held = self._redis.ask("smembers", self._redis.key("worker", worker, "jobs")) or ()
            found += [(Place.HELD, worker, i) for i in held]
        answers = self._hmget([self._redis.key("job", i) for _, _, i in found], "state", "model", "worker")
        return [Entry(*at, *(v or "" for v in said)) for at, said in zip(found, answers, strict=True)]

    @guarded
    def _queues(self, layout: Layout) -> list[QueueSeen]:
        found: list[tuple[str, str, str, str]] = []
        for key in layout.queue_keys:
            place = tuple(key.removeprefix("queue:").split(":", 2))
            members: list[str] = self._redis.ask("zrange", self._redis.key(key), 0, -1) or []
            found += [_place((*place, member)) for member in members]
        known = {seen[:3] for seen in found if seen[3]} | {(*seen[:2], "") for seen in found if seen[2]}
        batches = [seen for seen in found if seen[3]]
        answers = self._hmget([self._redis.key("batch", b) for *_, b in batches], "owner", "priority")
        linked = [QueueSeen(*seen, *(v or "" for v in said)) for seen, said in zip(batches, answers, strict=True)]
        return linked + [QueueSeen(*seen) for seen in found if seen[:3] not in known and self._is_bare(*seen[:3])]

    def _is_bare(self, model: str, priority: str, owner: str) -> bool:
        """Whether a step on the way through the queue is there and the next one is not, asked in one stroke: steps
        come and go all the time."""
        level = self._redis.key("queue", model, priority)
        pipe = self._redis.client.pipeline(transaction=True)
        if owner:
            pipe.zscore(level, owner).exists(f"{level}:{owner}")
        else:
            pipe.zscore(self._redis.key("queue", model), priority).exists(level)
        is_there, has_next = self._redis.answers(pipe)
        return is_there is not None and not has_next

    @guarded
    def _strangers(self) -> list[tuple[str, str]]:
        named = [(name, i) for name in ("batches", "finished", "concluded", "open") for i in self._ids(name)]
        named += [("cancelling", i) for i in self._redis.ask("smembers", self._redis.key("cancelling")) or ()]
        phases = self._hmget([self._redis.key("batch", i) for _, i in named], "phase")
        seen = zip(named, phases, strict=True)
        # A batch that is being forgotten stands among the concluded ones until nothing of it is left.
        seen = ((at, phase) for at, (phase,) in seen if (at[0], phase) != ("concluded", "forgotten"))
        return [at for at, phase in seen if (phase == BatchPhase.SEALED) is (at[0] == "open")]

    @guarded
    def _sums(self) -> list[tuple[str, str, str]]:
        pipe = self._redis.client.pipeline(transaction=True)
        for name in SUMS:
            pipe.hgetall(self._redis.key(name))
        *said, being_submitted = self._redis.answers(pipe.zcard(self._redis.key("open")))
        # What is being submitted counts among the bytes already.
        names = SUMS[:-1] if being_submitted else SUMS
        return [(name, *item) for name, sums in zip(names, said, strict=False) for item in (sums or {}).items()]

    # -- what may be spoiled

    def types(self) -> Iterator[tuple[str, str]]:
        """Yield every key of the farm, without the namespace, with its type."""
        cursor = -1
        while cursor:
            cursor, page = self._types(max(cursor, 0))
            yield from page

    @guarded
    def _types(self, cursor: int) -> tuple[int, list[tuple[str, str]]]:
        after, keys = self._redis.client.scan(cursor, match=f"{self._redis.key('')}*", count=PAGE_KEYS)
        pipe = self._redis.client.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        return after, [
            (str(key).removeprefix(self._redis.prefix), kind) for key, kind in zip(keys, pipe.execute(), strict=True)
        ]

    @guarded
    def fields(self, *name: str) -> dict[str, str]:
        """Read a hash; one of another type has no fields."""
        return self._redis.ask("hgetall", self._redis.key(*name)) or {}

    @guarded
    def worker_records(self) -> dict[str, str | None]:
        """Read what each worker last said of itself."""
        return {worker: self._redis.ask("get", self._redis.key("worker", worker)) for worker in self._ids("workers")}

    # -- what happened

    def events(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Yield the event stream, oldest first, a page at a time."""
        after = "-"
        while page := self._events(after):
            yield from page
            after = f"({page[-1][0]}"

    @guarded
    def _events(self, after: str) -> list[tuple[str, Mapping[str, str]]]:
        return self._redis.ask("xrange", self._redis.key("events"), min=after, count=PAGE_KEYS) or []

    @guarded
    def states(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Return the states of jobs; those without a record are left out."""
        answers = self._hmget([self._redis.key("job", i) for i in job_ids], "state")
        return {i: state for i, (state,) in zip(job_ids, answers, strict=True) if state}

    @guarded
    def now_ms(self) -> int:
        """Return the server's time."""
        seconds, micros = self._redis.client.time()
        return seconds * 1000 + micros // 1000

    def _hmget(self, keys: Sequence[str], *fields: str) -> list[list[str | None]]:
        answers: list[list[str | None]] = []
        for page in chunks(keys, PAGE_KEYS):
            pipe = self._redis.client.pipeline(transaction=False)
            for key in page:
                pipe.hmget(key, fields)
            nothing: list[str | None] = [None] * len(fields)
            answers += [said or nothing for said in self._redis.answers(pipe)]
        return answers

    def _ids(self, *name: str) -> list[str]:
        return self._redis.ask("zrange", self._redis.key(*name), 0, -1) or []


def _link(model: str, answers: Sequence[Any]) -> LinkSeen:
    num_ready, is_model_known, *scores = answers
    priority, owner, batch = (score is not None for score in scores)
    return LinkSeen(model, num_ready or 0, (bool(is_model_known), priority, owner, batch))


def _place(parts: tuple[str, ...]) -> tuple[str, str, str, str]:
    """Return model, priority, owner and batch, empty where the way through the queue does not lead so far."""
    model, priority, owner, batch = (*parts, "", "")[:4]
    return model, priority, owner, batch


def _named(names: Iterable[str], columns: Sequence[Sequence[float | None]], n: int) -> frozenset[str]:
    """Return the names of those columns that have a score in line n."""
    return frozenset(str(name) for name, column in zip(names, columns, strict=True) if column and column[n] is not None)
