"""The store on Redis or Valkey. Every state change is one Lua script (store/lua/); this class only passes arguments.

What each key holds stands in common/README.md. Safe for threads. Every call is bounded by redis_timeout_s, and answers
a server that is away, frozen or full with StoreUnavailable.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from redis import Redis

from sigmafarm_common.config import Config
from sigmafarm_common.doctor.finding import Grade
from sigmafarm_common.doctor.server import read_server, server_findings
from sigmafarm_common.errors import UnsafeServer
from sigmafarm_common.job import Batch, Job, ModelCard, RenderRequest, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import EVENT_ID, is_batch_id, new_batch_id, split_job_id
from sigmafarm_common.store.ids import job_id as make_job_id
from sigmafarm_common.store.protocol import (
    FORGOTTEN_PER_CALL,
    LONGEST_BACK_OFF_MS,
    WORKER_MEMORY_MS,
    Beat,
    Claim,
    Dispatched,
    DropReason,
    Event,
    Output,
    QueueInfo,
    TakenBack,
    Ticket,
    losses_to_be_alone,
)
from sigmafarm_common.store.records import batch_from, event_from, job_from
from sigmafarm_common.store.scripts import Scripts
from sigmafarm_common.store.server import connect, guarded

#: Rows that one call of add_rows carries at most.
ROWS_PER_CALL = 500
#: Jobs that one call of a long-running script (cancel, retry, discard, take back) touches at most: a few milliseconds.
JOBS_PER_CALL = 1000

T = TypeVar("T")

_log = structlog.get_logger("sigmafarm.store")


class RedisStore:
    """The farm's records on one server. See Store for what each method promises."""

    def __init__(self, config: Config, client: Redis | None = None, *, now_ms: Callable[[], int] | None = None):
        self._config = config
        # Any: redis-py's annotations speak for its blocking and its async client at once, and fit neither.
        self.client: Any = client or connect(config)
        self._prefix = config.namespace + ":"
        self._scripts = Scripts(self.client, namespace=config.namespace, event_limit=config.event_limit, now_ms=now_ms)

    @guarded
    def check(self) -> None:
        """Ask whether the server answers and keeps what it is given. Raises UnsafeServer for one that would lose jobs
        by itself (it evicts, it is a replica or too old), and logs what may lose jobs when it crashes."""
        self.client.ping()
        for finding in server_findings(read_server(self.client)):
            if finding.grade is Grade.FAIL:
                raise UnsafeServer(finding.message)
            if finding.grade is Grade.WARN:
                _log.warning(finding.message)

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    # -- submit

    def begin_batch(
        self, *, name: str, owner: str, priority: int, defaults: Mapping[str, Any], idempotency_key: str | None = None
    ) -> Ticket:
        # The id is made out here, so that a second try after a lost reply finds its own batch and not a rival's.
        settings = json.dumps(dict(defaults))
        return self._begin(new_batch_id(), name, owner, priority, settings, idempotency_key or "")

    @guarded
    def _begin(self, batch_id: str, name: str, owner: str, priority: int, settings: str, key: str) -> Ticket:
        stale_s = self._config.submit_stale_s
        held, answer = self._scripts.run("begin_batch", batch_id, name, owner, priority, settings, key, _ms(stale_s))
        if answer == "busy":
            raise refusals.being_submitted(key, held, stale_s)
        return Ticket(batch_id=held, is_new=answer == "new")

    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest]) -> None:
        # The place is read once, so that a second try after a lost reply does not take what it added for another's.
        self._add_rows(batch_id, self._num_rows(batch_id), requests)

    @guarded
    def _num_rows(self, batch_id: str) -> int:
        phase, rows = None, "0"
        if is_batch_id(batch_id):
            phase, rows = self.client.hmget(self._key("batch", batch_id), "phase", "rows")
        if phase != "open":
            raise refusals.takes_no_rows(batch_id)
        return int(rows)

    @guarded
    def _add_rows(self, batch_id: str, first: int, requests: Sequence[RenderRequest]) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for chunk in _chunks(requests, ROWS_PER_CALL):
            rows: list[Any] = []
            for r in chunk:
                rows += (r.model, r.cost, r.num_inference_steps, r.to_json())
            self._scripts.run("add_rows", batch_id, first, *rows, pipeline=pipeline)
            first += len(chunk)
        if any(answer < 0 for answer in pipeline.execute()):
            raise refusals.takes_no_rows(batch_id)

    @guarded
    def seal_batch(self, batch_id: str) -> Batch:
        if not self._scripts.run("seal_batch", batch_id):
            raise refusals.no_open_batch(batch_id)
        return self.batch(batch_id)

    @guarded
    def discard_batch(self, batch_id: str) -> None:
        if not self._discard(batch_id):
            raise refusals.already_accepted(batch_id)

    def _discard(self, batch_id: str) -> bool:
        """Forget an open batch a piece at a time; return whether it was none that is sealed."""
        left = 1
        while left > 0:
            left = self._scripts.run("discard_batch", batch_id, JOBS_PER_CALL)
        return left == 0

    # -- read

    @guarded
    def batch(self, batch_id: str) -> Batch:
        fields = self.client.hgetall(self._key("batch", batch_id)) if is_batch_id(batch_id) else {}
        batch = batch_from(batch_id, fields)
        if batch is None:
            raise refusals.no_batch(batch_id)
        return batch

    @guarded
    def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        found: list[Batch] = []
        rank = self.client.zrevrank(self._key("batches"), before) if before else None
        start = 0 if rank is None else rank + 1
        while len(found) < limit:
            ids = self.client.zrevrange(self._key("batches"), start, start + limit - 1)
            if not ids:
                break
            start += len(ids)
            found += [b for b in self._read_batches(ids) if owner is None or b.owner == owner]
        return found[:limit]

    def _read_batches(self, ids: Sequence[str]) -> list[Batch]:
        pipeline = self.client.pipeline(transaction=False)
        for batch_id in ids:
            pipeline.hgetall(self._key("batch", batch_id))
        batches = [batch_from(i, fields) for i, fields in zip(ids, pipeline.execute(), strict=True)]
        return [b for b in batches if b is not None]

    @guarded
    def job(self, job_id: str) -> Job:
        place = split_job_id(job_id)
        jobs = self._read_jobs(place[0], [place[1]]) if place else []
        if not jobs:
            raise refusals.no_job(job_id)
        return jobs[0]

    @guarded
    def jobs(self, batch_id: str, *, state: JobState | None = None, after_row: int = -1, limit: int = 100) -> list[Job]:
        if not is_batch_id(batch_id):
            return []
        states = [state] if state else list(JobState)
        pipeline = self.client.pipeline(transaction=False)
        for each in states:
            key = self._key("batch", batch_id, each)
            pipeline.zrangebyscore(key, f"({after_row}", "+inf", start=0, num=limit)
        rows = {int(row) for part in pipeline.execute() for row in part}
        return self._read_jobs(batch_id, sorted(rows)[:limit])

    def _read_jobs(self, batch_id: str, rows: Sequence[int]) -> list[Job]:
        pipeline = self.client.pipeline(transaction=False)
        pipeline.hgetall(self._key("batch", batch_id))
        for row in rows:
            key = self._key("job", make_job_id(batch_id, row))
            pipeline.hgetall(key).get(f"{key}:request").lrange(f"{key}:history", 0, -1)
        batch, *parts = pipeline.execute()
        records = zip(rows, _chunks(parts, 3), strict=True)
        jobs = [job_from(make_job_id(batch_id, row), batch, *fields) for row, fields in records]
        return [j for j in jobs if j is not None]

    @guarded
    def workers(self) -> list[WorkerInfo]:
        seen = self.client.zrange(self._key("workers"), 0, -1)
        records = self.client.mget([self._key("worker", w) for w in seen]) if seen else []
        now_ms = self._now_ms()
        workers = [WorkerInfo.model_validate_json(r) for r in records if r]
        return sorted((w for w in workers if now_ms - w.seen_ms <= self._alive_ms), key=lambda w: w.id)

    @property
    def _alive_ms(self) -> int:
        return _ms(2 * self._config.lease_s)

    def _now_ms(self) -> int:
        seconds, micros = self.client.time()
        return self._scripts.now_ms() if self._scripts.now_ms else seconds * 1000 + micros // 1000

    @guarded
    def models(self) -> list[ModelCard]:
        cards = self.client.hgetall(self._key("models"))
        return [ModelCard.model_validate_json(cards[name]) for name in sorted(cards)]

    @guarded
    def queues(self) -> list[QueueInfo]:
        models = sorted(self.client.smembers(self._key("queue_models")))
        return [self._queue(model) for model in models]

    def _queue(self, model: str) -> QueueInfo:
        waiting: dict[int, int] = {}
        for priority in self.client.zrange(self._key("queue", model), 0, -1):
            level = self._key("queue", model, priority)
            for owner in self.client.zrange(level, 0, -1):
                for batch in self.client.zrange(f"{level}:{owner}", 0, -1):
                    num = self.client.zcard(self._key("batch", batch, "ready", model))
                    waiting[int(priority)] = waiting.get(int(priority), 0) + num
        dispatched = self.client.zcard(self._key("dispatched", model))
        return QueueInfo(model, waiting, dispatched, self.client.zcard(self._key("leases", model)))

    @guarded
    def events(self, *, after: str = "$", limit: int = 100, block_s: float = 0) -> list[Event]:
        if not EVENT_ID.fullmatch(after):
            raise refusals.no_event_id(after)
        # A blocking read must end before the socket's own timeout does.
        block_ms = _ms(min(block_s, self._config.redis_timeout_s / 2)) or None
        streams = self.client.xread({self._key("events"): after}, count=limit, block=block_ms)
        return [event_from(event_id, fields) for _, entries in streams for event_id, fields in entries]

    # -- steer

    @guarded
    def pause_batch(self, batch_id: str) -> Batch:
        return self._steered("pause_batch", batch_id, 1)

    @guarded
    def resume_batch(self, batch_id: str) -> Batch:
        return self._steered("pause_batch", batch_id, 0)

    @guarded
    def set_priority(self, batch_id: str, priority: int) -> Batch:
        return self._steered("set_priority", batch_id, priority)

    def _steered(self, script: str, batch_id: str, value: int) -> Batch:
        self._scripts.run(script, batch_id, value)
        return self.batch(batch_id)

    @guarded
    def cancel_batch(self, batch_id: str) -> int:
        cancelled, left = 0, 1
        while left:
            done, left = self._scripts.run("cancel_batch", batch_id, JOBS_PER_CALL)
            if done < 0:
                self.batch(batch_id)
            cancelled += done
        return cancelled

    @guarded
    def cancel_job(self, job_id: str) -> JobState:
        state = self._scripts.run("cancel_job", job_id)
        return JobState(state) if state else self.job(job_id).state

    @guarded
    def retry_batch(self, batch_id: str, *, states: Iterable[JobState] = (JobState.FAILED,)) -> int:
        return sum(self._retry_state(batch_id, state) for state in states)

    def _retry_state(self, batch_id: str, state: JobState) -> int:
        total, row, done = 0, -1, 1
        while done:
            done, row = self._scripts.run("retry_batch", batch_id, state, row, JOBS_PER_CALL)
            if done == -2:
                raise refusals.being_cancelled(batch_id)
            if done < 0:
                self.batch(batch_id)
            total += done
        return total

    @guarded
    def retry_job(self, job_id: str) -> None:
        answer, *state = self._scripts.run("retry_job", job_id)
        if answer < 0:
            self.job(job_id)
        if answer == 0:
            raise refusals.cannot_be_retried(job_id, state[0])

    # -- worker

    @guarded
    def register_models(self, cards: Iterable[ModelCard]) -> None:
        records = {card.name: card.model_dump_json() for card in cards}
        if records:
            self.client.hset(self._key("models"), mapping=records)

    def claim(self, job_id: str, worker_id: str) -> Claim | None:
        # The token is made out here, so that a second try after a lost reply is known for the first.
        return self._claim(job_id, worker_id, secrets.token_hex(4))

    @guarded
    def _claim(self, job_id: str, worker_id: str, token: str) -> Claim | None:
        alone_from = losses_to_be_alone(self._config.max_losses)
        answer = self._scripts.run("claim", job_id, worker_id, _ms(self._config.lease_s), token, alone_from)
        if answer[0] == "not alone":
            raise refusals.not_alone(job_id, worker_id, answer[1])
        if len(answer) == 1:
            return None
        fence, attempts, losses, record = answer
        try:
            request = RenderRequest.model_validate_json(record or "")
        except ValidationError as error:
            message = f"its record was changed from outside and is no request any more: {error.errors()[0]['msg']}"
            self.fail(job_id, fence, code="spoiled_record", message=message, retryable=False)
            return None
        is_alone = losses >= alone_from
        return Claim(job_id, job_id.rpartition("-")[0], fence, request, attempts, losses, is_alone)

    @guarded
    def renew(self, worker: WorkerInfo, beats: Sequence[Beat]) -> dict[str, DropReason]:
        said = [value for b in beats for value in (b.job_id, b.fence, b.step, int(b.has_moved))]
        record = worker.model_dump_json(exclude={"started_ms", "seen_ms"})
        lease_ms = _ms(self._config.lease_s)
        drop = self._scripts.run("renew", worker.id, record, lease_ms, *said)
        return {job: DropReason(reason) for job, reason in zip(drop[::2], drop[1::2], strict=True)}

    @guarded
    def finish(self, job_id: str, fence: int, output: Output) -> bool:
        what = (output.image_key, output.sha256, output.size_bytes)
        return bool(self._scripts.run("finish", job_id, fence, *what))

    @guarded
    def fail(self, job_id: str, fence: int, *, code: str, message: str, retryable: bool) -> JobState | None:
        first_ms = _ms(self._config.retry_delay_s)
        limits = (self._config.max_attempts, first_ms, max(first_ms, LONGEST_BACK_OFF_MS))
        state = self._scripts.run("fail", job_id, fence, code, message, int(retryable), *limits)
        return JobState(state) if state else None

    @guarded
    def release(self, job_id: str, fence: int, *, outcome: str = "released") -> bool:
        return bool(self._scripts.run("release", job_id, fence, outcome))

    @guarded
    def release_worker(self, worker_id: str) -> list[str]:
        return self._scripts.run("release_worker", worker_id, self._config.max_losses, 1)

    @guarded
    def forget_worker(self, worker_id: str) -> None:
        self._scripts.run("release_worker", worker_id, self._config.max_losses, 0)

    # -- keeper

    @guarded
    def lead(self, keeper_id: str, lease_s: float) -> bool:
        return bool(self._scripts.run("lead", keeper_id, _ms(lease_s)))

    @guarded
    def resign(self, keeper_id: str) -> None:
        self._scripts.run("lead", keeper_id, 0)

    @guarded
    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        alone_from = losses_to_be_alone(self._config.max_losses)
        chosen = self._scripts.run("dispatch", limit, self._alive_ms, alone_from)
        return [Dispatched(job, model) for model, job in zip(chosen[::2], chosen[1::2], strict=True)]

    @guarded
    def take_back(self, *, judge_leases: bool = True) -> TakenBack:
        unclaimed_ms = _ms(self._config.unclaimed_s)
        lost, unclaimed = self._scripts.run(
            "take_back", unclaimed_ms, self._config.max_losses, JOBS_PER_CALL, int(judge_leases), WORKER_MEMORY_MS
        )
        for batch_id in self.client.smembers(self._key("cancelling")):
            self.cancel_batch(batch_id)
        stale_ms = self._now_ms() - _ms(self._config.submit_stale_s)
        for batch_id in self.client.zrangebyscore(self._key("open"), "-inf", stale_ms):
            self._discard(batch_id)  # one that was sealed since then stays
        return TakenBack(tuple(lost), tuple(unclaimed))

    @guarded
    def server_uptime_s(self) -> float:
        return float(self.client.info("server")["uptime_in_seconds"])

    @guarded
    def finished_batches(self, *, limit: int = 10) -> list[str]:
        return self.client.zrange(self._key("finished"), 0, limit - 1)

    @guarded
    def manifest_written(self, batch_id: str, finished_ms: int) -> None:
        self._scripts.run("manifest_written", batch_id, finished_ms)

    @guarded
    def forget_batches(self) -> list[str]:
        retention_ms, forgotten = _ms(self._config.retention_s), list[str]()
        if not retention_ms:
            return []
        for _ in range(FORGOTTEN_PER_CALL):
            answer = self._scripts.run("forget_batches", retention_ms, JOBS_PER_CALL)
            if not answer:
                break
            if answer[1] == 0:
                forgotten.append(answer[0])
        self._scripts.run("forget_owners", retention_ms)
        return forgotten

    # -- operator

    @guarded
    def drop_entry(self, place: str, name: str, job_id: str, *, older_than_s: float, dry_run: bool = False) -> bool:
        """Remove an entry of the leases, dispatched, delayed or held jobs of a model or worker, if its job does not
        belong there and the entry is old. Return whether it was removed, or would be."""
        return bool(self._scripts.run("drop_entry", place, name, job_id, _ms(older_than_s), int(not dry_run)))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
