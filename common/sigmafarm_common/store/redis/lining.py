"""What waits for each model, in the order in which the keeper dispatches it (dispatch.lua): by priority, then the owner
and its batch that were charged least, then the row. ReadSide says what each gives.

A look costs a handful of round trips, however many jobs wait: of batches are counts read, of jobs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sigmafarm_common.store.ids import split_job_id
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Part
from sigmafarm_common.store.redis.stored_records import cost_of, whole
from sigmafarm_common.store.values import Line, Place, QueueInfo, Standing


class _Turn(NamedTuple):
    """A batch's place in the line of a model."""

    priority: str
    owner: str
    owner_time: float
    batch_id: str
    batch_time: float


class Lining(Part):
    """Reads who waits, and before whom."""

    @guarded
    def queues(self) -> list[QueueInfo]:
        return [self._queue(self._line(model, None)) for model in self._models()]

    @guarded
    def lines(self, *, limit: int = 1000) -> list[Line]:
        return [self._line(model, limit) for model in self._models()]

    @guarded
    def place_of(self, job_id: str, model: str) -> Place:
        place = split_job_id(job_id)
        if place is None:
            return Place()
        pipeline = self._redis.client.pipeline(transaction=False)
        pipeline.zrank(self._redis.key("batch", place[0], "ready", model), place[1])
        pipeline.zrank(self._redis.key("dispatched", model), job_id)
        pipeline.zscore(self._redis.key("delayed"), job_id)
        before, called_before, until_ms = self._redis.answers(pipeline)
        return Place(before, called_before, None if until_ms is None else int(until_ms))

    def _models(self) -> list[str]:
        return sorted(self._redis.ask("smembers", self._redis.key("queue_models")) or ())

    def _line(self, model: str, limit: int | None) -> Line:
        turns, is_whole = self._turns(model, limit)
        pipeline = self._redis.client.pipeline(transaction=False)
        pipeline.zcard(self._redis.key("dispatched", model)).zcard(self._redis.key("leases", model))
        for turn in turns:
            pipeline.zcard(self._redis.key("batch", turn.batch_id, "ready", model))
            pipeline.scard(self._redis.key("batch", turn.batch_id, "models"))
            fields = ("queued", "running", "created", f"open:{model}")
            pipeline.hmget(self._redis.key("batch", turn.batch_id), fields)
        dispatched, running, *said = self._redis.answers(pipeline)
        about = zip(said[::3], said[1::3], said[2::3], strict=True)
        standings = tuple(_standing(turn, *each) for turn, each in zip(turns, about, strict=True))
        return Line(model, standings, dispatched or 0, running or 0, is_whole)

    def _turns(self, model: str, limit: int | None) -> tuple[list[_Turn], bool]:
        """Return the batches that wait for a model, at most `limit` of each owner, and whether these are all."""
        last = -1 if limit is None else limit
        priorities = self._redis.ask("zrange", self._redis.key("queue", model), 0, -1) or ()
        levels = [self._redis.key("queue", model, priority) for priority in priorities]
        owners = [
            (priority, level, owner, time)
            for priority, level, found in zip(priorities, levels, self._ranges(levels, last), strict=True)
            for owner, time in found
        ]
        is_cut = limit is not None and len(owners) > limit
        members = self._ranges([f"{level}:{owner}" for _, level, owner, _ in owners], last)
        turns = [
            _Turn(priority, owner, time, batch_id, batch_time)
            for (priority, _, owner, time), found in zip(owners, members, strict=True)
            for batch_id, batch_time in (found if limit is None else found[:limit])
        ]
        return turns, limit is None or not (is_cut or any(len(found) > limit for found in members))

    def _ranges(self, keys: Sequence[str], last: int) -> list[list[tuple[str, float]]]:
        pipeline = self._redis.client.pipeline(transaction=False)
        for key in keys:
            pipeline.zrange(key, 0, last, withscores=True)
        return [[(name, float(score)) for name, score in found or ()] for found in self._redis.answers(pipeline)]

    def _queue(self, line: Line) -> QueueInfo:
        waiting: dict[int, int] = {}
        for each in line.standings:
            waiting[each.priority] = waiting.get(each.priority, 0) + each.num_waiting
        oldest = min(line.standings, key=lambda each: each.batch_id, default=None)
        work = self._redis.ask("hget", self._redis.key("open_work"), line.model)
        oldest_ms = oldest.created_ms if oldest else 0
        return QueueInfo(line.model, waiting, line.num_dispatched, line.num_running, cost_of(whole(work)), oldest_ms)


def _standing(
    turn: _Turn, num_ready: int | None, num_models: int | None, said: Sequence[str | None] | None
) -> Standing:
    queued, running, created, work = said or [None] * 4
    num_waiting = num_ready or 0
    num_queued = whole(queued) if num_models == 1 else num_waiting
    mean_cost = cost_of(whole(work)) / max(1, num_queued + whole(running))
    return Standing(
        turn.batch_id,
        turn.owner,
        whole(turn.priority),
        turn.owner_time,
        turn.batch_time,
        num_waiting,
        mean_cost,
        whole(created),
    )
