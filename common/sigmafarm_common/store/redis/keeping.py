"""What the keeper and operators ask of the store: lead, dispatch, take back, forget."""

from __future__ import annotations

from collections import deque

from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import JOBS_PER_CALL, REMOVALS_PER_CALL, Keyspace, Part, in_ms
from sigmafarm_common.store.redis.stored_records import whole
from sigmafarm_common.store.values import (
    FORGOTTEN_PER_CALL,
    MAX_ERROR_CHARS,
    MENDED_PER_CALL,
    PACE_ENTRIES,
    PACE_S,
    TAKEN_BACK_PER_CALL,
    WORKER_MEMORY_MS,
    Dispatched,
    TakenBack,
    losses_to_be_alone,
)

#: Redis takes a wait of 0 for one without an end, and version 6.2 a millisecond for 0.
SHORTEST_WAIT_S = 0.01


class Keeping(Part):
    """The keeper's part."""

    def __init__(self, redis: Keyspace):
        super().__init__(redis)
        #: Where this process's look at open batches stands: batch, state and the last row seen; its place in the list.
        self._to_mend: deque[tuple[str, JobState, int]] = deque()
        self._mend_from = 0
        #: The PACE_S seconds in which this process counted last how many jobs wait.
        self._counted_slot = 0

    @guarded
    def lead(self, keeper_id: str, lease_s: float) -> bool:
        return bool(self._redis.run("lead", keeper_id, in_ms(lease_s)))

    @guarded
    def resign(self, keeper_id: str) -> None:
        self._redis.run("lead", keeper_id, 0)

    @guarded
    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        alone_from, chosen = losses_to_be_alone(self._redis.config.max_losses), list[str]()
        while (left := limit - len(chosen) // 2) > 0:
            piece = self._redis.run("dispatch", min(left, JOBS_PER_CALL), self._redis.alive_ms, alone_from)
            chosen += piece
            if len(piece) < 2 * min(left, JOBS_PER_CALL):
                break
        return [Dispatched(job, model) for model, job in zip(chosen[::2], chosen[1::2], strict=True)]

    @guarded
    def wait_for_bell(self, timeout_s: float) -> bool:
        longest_s = self._redis.config.redis_timeout_s / 2  # a server that says nothing for longer has not answered
        return bool(self._redis.tell("blpop", self._redis.key("bell"), max(SHORTEST_WAIT_S, min(timeout_s, longest_s))))

    @guarded
    def ring_bell(self) -> None:
        self._redis.tell("rpush", self._redis.key("bell"), 1)

    @guarded
    def take_back(self, *, judge_leases: bool = True) -> TakenBack:
        unclaimed_ms, lease_ms = in_ms(self._redis.config.unclaimed_s), in_ms(self._redis.config.lease_s)
        limits = (self._redis.config.max_losses, JOBS_PER_CALL, int(judge_leases), WORKER_MEMORY_MS, lease_ms)
        lost, unclaimed = list[str](), list[str]()
        for _ in range(TAKEN_BACK_PER_CALL):
            *found, has_more = self._redis.run("take_back", unclaimed_ms, *limits)
            lost += found[0]
            unclaimed += found[1]
            if not has_more:
                break
        return TakenBack(tuple(lost), tuple(unclaimed))

    @guarded
    def open_cancels(self) -> list[str]:
        return sorted(self._redis.ask("smembers", self._redis.key("cancelling")) or ())

    @guarded
    def stale_batches(self) -> list[str]:
        stale_ms = self._redis.now_ms() - in_ms(self._redis.config.submit_stale_s)
        return self._redis.ask("zrangebyscore", self._redis.key("open"), "-inf", stale_ms) or []

    @guarded
    def mend(self) -> int:
        mended = 0
        for _ in range(MENDED_PER_CALL):
            if not self._to_mend and not self._find_to_mend():
                break
            batch_id, state, row = self._to_mend[0]
            more, last, num_seen = self._redis.run(
                "mend_batch", batch_id, state, row, JOBS_PER_CALL, in_ms(self._redis.config.lease_s)
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
        last = self._mend_from + JOBS_PER_CALL - 1
        ids = self._redis.ask("zrange", self._redis.key("batches"), self._mend_from, last)
        self._mend_from = self._mend_from + len(ids) if ids else 0
        pipeline = self._redis.client.pipeline(transaction=False)
        for batch_id in ids or ():
            pipeline.hget(self._redis.key("batch", batch_id), "finished")
        ends = zip(ids or (), self._redis.answers(pipeline), strict=True)
        self._to_mend.extend(
            (i, state, -1) for i, end in ends if not end for state in (JobState.QUEUED, JobState.RUNNING)
        )
        return bool(self._to_mend)

    @guarded
    def note_round(self, error: str = "") -> None:
        now_ms = self._redis.now_ms()
        said = {"failed": now_ms, "error": error[:MAX_ERROR_CHARS]} if error else {"good": now_ms}
        self._redis.tell("hset", self._redis.key("rounds"), mapping=said)
        slot = now_ms // (PACE_S * 1000)
        if slot != self._counted_slot:
            self._counted_slot = slot
            self._count_waiting(slot)

    def _count_waiting(self, slot: int) -> None:
        """Note how many jobs are queued, and forget what was noted an hour ago."""
        models, pace = self._redis.ask("smembers", self._redis.key("queue_models")) or (), self._redis.key("pace")
        pipeline = self._redis.client.pipeline(transaction=False).hvals(self._redis.key("open_jobs")).hkeys(pace)
        for model in models:
            pipeline.zcard(self._redis.key("leases", model))
        open_jobs, noted, *running = self._redis.answers(pipeline)
        num_waiting = sum(map(whole, open_jobs or ())) - sum(num or 0 for num in running)
        self._redis.tell("hset", pace, f"{slot}:waiting", max(0, num_waiting))
        old = [name for name in noted or () if whole(name.partition(":")[0]) <= slot - PACE_ENTRIES]
        if old:
            self._redis.tell("hdel", pace, *old)

    @guarded
    def round_age_s(self) -> float | None:
        told: list[str | None] = self._redis.ask("hmget", self._redis.key("rounds"), "good", "failed") or [None]
        ended_ms = max(whole(each) for each in told)
        return (self._redis.now_ms() - ended_ms) / 1000 if ended_ms else None

    @guarded
    def server_uptime_s(self) -> float:
        return float(self._redis.client.info("server")["uptime_in_seconds"])

    @guarded
    def finished_batches(self, *, limit: int = 10) -> list[str]:
        return self._redis.ask("zrange", self._redis.key("finished"), 0, limit - 1) or []

    @guarded
    def note_manifest(self, batch_id: str, finished_ms: int, revision: int | None = None) -> None:
        self._redis.run("note_manifest", batch_id, finished_ms, "" if revision is None else revision)

    @guarded
    def due_sweeps(self, *, limit: int = 10) -> list[str]:
        due = ("-inf", self._redis.now_ms())
        return self._redis.ask("zrangebyscore", self._redis.key("sweeps"), *due, start=0, num=limit) or []

    @guarded
    def plan_sweep(self, batch_id: str, after_s: float | None) -> None:
        if after_s is None:
            self._redis.tell("zrem", self._redis.key("sweeps"), batch_id)
        else:
            self._redis.tell("zadd", self._redis.key("sweeps"), {batch_id: self._redis.now_ms() + in_ms(after_s)})

    @guarded
    def num_sweeps_planned(self, within_s: float) -> int:
        end_ms = self._redis.now_ms() + in_ms(within_s)
        return self._redis.ask("zcount", self._redis.key("sweeps"), "-inf", end_ms) or 0

    @guarded
    def forget_batches(self) -> list[str]:
        retention_ms, forgotten = in_ms(self._redis.config.retention_s), list[str]()
        if not retention_ms:
            return []
        for _ in range(FORGOTTEN_PER_CALL):
            has_more, *gone = self._redis.run("forget_batches", retention_ms, REMOVALS_PER_CALL)
            forgotten += gone
            if not has_more:
                break
        self._redis.run("forget_owners", retention_ms, JOBS_PER_CALL)
        return forgotten

    @guarded
    def drop_entry(self, place: str, name: str, job_id: str, *, older_than_s: float, dry_run: bool = False) -> bool:
        """Remove an entry of the leases, dispatched, delayed or held jobs of a model or worker, if its job does not
        belong there and the entry is old. Return whether it was removed, or would be."""
        return bool(self._redis.run("drop_entry", place, name, job_id, in_ms(older_than_s), int(not dry_run)))
