"""What the keeper and operators ask of the Redis store: lead, dispatch, take back, forget."""

from __future__ import annotations

from collections import deque
from typing import Any

from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import (
    FORGOTTEN_PER_CALL,
    MAX_ERROR_CHARS,
    MENDED_PER_CALL,
    TAKEN_BACK_PER_CALL,
    WORKER_MEMORY_MS,
    Dispatched,
    Rounds,
    TakenBack,
    losses_to_be_alone,
)
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import JOBS_PER_CALL, REMOVALS_PER_CALL, in_ms
from sigmafarm_common.store.redis.steering import RedisSteering
from sigmafarm_common.store.redis.stored_records import whole
from sigmafarm_common.store.redis.submitting import RedisSubmitting


class RedisKeeping(RedisSubmitting, RedisSteering):
    """The keeper's part."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        #: Where this process's look at open batches stands: batch, state and the last row seen; its place in the list.
        self._to_mend: deque[tuple[str, JobState, int]] = deque()
        self._mend_from = 0

    @guarded
    def lead(self, keeper_id: str, lease_s: float) -> bool:
        return bool(self._scripts.run("lead", keeper_id, in_ms(lease_s)))

    @guarded
    def resign(self, keeper_id: str) -> None:
        self._scripts.run("lead", keeper_id, 0)

    @guarded
    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        alone_from, chosen = losses_to_be_alone(self._config.max_losses), list[str]()
        while (left := limit - len(chosen) // 2) > 0:
            piece = self._scripts.run("dispatch", min(left, JOBS_PER_CALL), self._alive_ms, alone_from)
            chosen += piece
            if len(piece) < 2 * min(left, JOBS_PER_CALL):
                break
        return [Dispatched(job, model) for model, job in zip(chosen[::2], chosen[1::2], strict=True)]

    @guarded
    def take_back(self, *, judge_leases: bool = True) -> TakenBack:
        unclaimed_ms, lease_ms = in_ms(self._config.unclaimed_s), in_ms(self._config.lease_s)
        limits = (self._config.max_losses, JOBS_PER_CALL, int(judge_leases), WORKER_MEMORY_MS, lease_ms)
        lost, unclaimed = list[str](), list[str]()
        for _ in range(TAKEN_BACK_PER_CALL):
            *found, has_more = self._scripts.run("take_back", unclaimed_ms, *limits)
            lost += found[0]
            unclaimed += found[1]
            if not has_more:
                break
        return TakenBack(tuple(lost), tuple(unclaimed))

    @guarded
    def open_cancels(self) -> list[str]:
        return sorted(self._ask("smembers", self._key("cancelling")) or ())

    @guarded
    def stale_batches(self) -> list[str]:
        stale_ms = self._now_ms() - in_ms(self._config.submit_stale_s)
        return self._ask("zrangebyscore", self._key("open"), "-inf", stale_ms) or []

    @guarded
    def mend(self) -> int:
        mended = 0
        for _ in range(MENDED_PER_CALL):
            if not self._to_mend and not self._find_to_mend():
                break
            batch_id, state, row = self._to_mend[0]
            more, last, num_seen = self._scripts.run(
                "mend_batch", batch_id, state, row, JOBS_PER_CALL, in_ms(self._config.lease_s)
            )
            mended += more
            if num_seen:
                self._to_mend[0] = (batch_id, state, last)
            else:
                self._to_mend.popleft()
        return mended

    def _find_to_mend(self) -> bool:
        """Take the open batches of the list's next page; return whether there are any. After the last page comes the
        first."""
        ids = self._ask("zrange", self._key("batches"), self._mend_from, self._mend_from + JOBS_PER_CALL - 1)
        self._mend_from = self._mend_from + len(ids) if ids else 0
        pipeline = self.client.pipeline(transaction=False)
        for batch_id in ids or ():
            pipeline.hget(self._key("batch", batch_id), "finished")
        ends = zip(ids or (), self._answers(pipeline), strict=True)
        self._to_mend.extend(
            (i, state, -1) for i, end in ends if not end for state in (JobState.QUEUED, JobState.RUNNING)
        )
        return bool(self._to_mend)

    @guarded
    def note_round(self, error: str = "") -> None:
        said = {"failed": self._now_ms(), "error": error[:MAX_ERROR_CHARS]} if error else {"good": self._now_ms()}
        self._tell("hset", self._key("rounds"), mapping=said)

    @guarded
    def rounds(self) -> Rounds:
        said = self._ask("hgetall", self._key("rounds")) or {}
        return Rounds(whole(said.get("good")), whole(said.get("failed")), said.get("error", ""))

    @guarded
    def now_ms(self) -> int:
        return self._now_ms()

    @guarded
    def server_uptime_s(self) -> float:
        return float(self.client.info("server")["uptime_in_seconds"])

    @guarded
    def finished_batches(self, *, limit: int = 10) -> list[str]:
        return self._ask("zrange", self._key("finished"), 0, limit - 1) or []

    @guarded
    def manifest_written(self, batch_id: str, finished_ms: int) -> None:
        self._scripts.run("manifest_written", batch_id, finished_ms)

    @guarded
    def due_sweeps(self, *, limit: int = 10) -> list[str]:
        return self._ask("zrangebyscore", self._key("sweeps"), "-inf", self._now_ms(), start=0, num=limit) or []

    @guarded
    def plan_sweep(self, batch_id: str, after_s: float | None) -> None:
        if after_s is None:
            self._tell("zrem", self._key("sweeps"), batch_id)
        else:
            self._tell("zadd", self._key("sweeps"), {batch_id: self._now_ms() + in_ms(after_s)})

    @guarded
    def num_sweeps_planned(self, within_s: float) -> int:
        return int(self._ask("zcount", self._key("sweeps"), "-inf", self._now_ms() + in_ms(within_s)) or 0)

    @guarded
    def forget_batches(self) -> list[str]:
        retention_ms, forgotten = in_ms(self._config.retention_s), list[str]()
        if not retention_ms:
            return []
        for _ in range(FORGOTTEN_PER_CALL):
            has_more, *gone = self._scripts.run("forget_batches", retention_ms, REMOVALS_PER_CALL)
            forgotten += gone
            if not has_more:
                break
        self._scripts.run("forget_owners", retention_ms, JOBS_PER_CALL)
        return forgotten

    @guarded
    def drop_entry(self, place: str, name: str, job_id: str, *, older_than_s: float, dry_run: bool = False) -> bool:
        """Remove an entry of the leases, dispatched, delayed or held jobs of a model or worker, if its job does not
        belong there and the entry is old. Return whether it was removed, or would be."""
        return bool(self._scripts.run("drop_entry", place, name, job_id, in_ms(older_than_s), int(not dry_run)))
