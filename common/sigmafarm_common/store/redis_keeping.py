"""What the keeper and operators ask of the Redis store: lead, dispatch, take back, forget."""

from __future__ import annotations

from sigmafarm_common.store.protocol import (
    FORGOTTEN_PER_CALL,
    WORKER_MEMORY_MS,
    Dispatched,
    TakenBack,
    losses_to_be_alone,
)
from sigmafarm_common.store.redis_part import JOBS_PER_CALL, in_ms
from sigmafarm_common.store.redis_steering import RedisSteering
from sigmafarm_common.store.redis_submitting import RedisSubmitting
from sigmafarm_common.store.server import guarded


class RedisKeeping(RedisSubmitting, RedisSteering):
    """The keeper's part."""

    @guarded
    def lead(self, keeper_id: str, lease_s: float) -> bool:
        return bool(self._scripts.run("lead", keeper_id, in_ms(lease_s)))

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
        unclaimed_ms = in_ms(self._config.unclaimed_s)
        lost, unclaimed = self._scripts.run(
            "take_back",
            unclaimed_ms,
            self._config.max_losses,
            JOBS_PER_CALL,
            int(judge_leases),
            WORKER_MEMORY_MS,
            in_ms(self._config.lease_s),
        )
        for batch_id in self.client.smembers(self._key("cancelling")):
            self.cancel_batch(batch_id)
        stale_ms = self._now_ms() - in_ms(self._config.submit_stale_s)
        for batch_id in self.client.zrangebyscore(self._key("open"), "-inf", stale_ms):
            self._discard(batch_id)  # one that was sealed since then stays
        return TakenBack(tuple(lost), tuple(unclaimed))

    @guarded
    def now_ms(self) -> int:
        return self._now_ms()

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
    def due_sweeps(self, *, limit: int = 10) -> list[str]:
        return self.client.zrangebyscore(self._key("sweeps"), "-inf", self._now_ms(), start=0, num=limit)

    @guarded
    def plan_sweep(self, batch_id: str, after_s: float | None) -> None:
        if after_s is None:
            self.client.zrem(self._key("sweeps"), batch_id)
        else:
            self.client.zadd(self._key("sweeps"), {batch_id: self._now_ms() + in_ms(after_s)})

    @guarded
    def num_sweeps_planned(self, within_s: float) -> int:
        return int(self.client.zcount(self._key("sweeps"), "-inf", self._now_ms() + in_ms(within_s)))

    @guarded
    def forget_batches(self) -> list[str]:
        retention_ms, forgotten = in_ms(self._config.retention_s), list[str]()
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

    @guarded
    def drop_entry(self, place: str, name: str, job_id: str, *, older_than_s: float, dry_run: bool = False) -> bool:
        """Remove an entry of the leases, dispatched, delayed or held jobs of a model or worker, if its job does not
        belong there and the entry is old. Return whether it was removed, or would be."""
        return bool(self._scripts.run("drop_entry", place, name, job_id, in_ms(older_than_s), int(not dry_run)))
