"""What the parts of the memory store share: the lock, the clock, the moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from threading import Condition
from typing import Concatenate, ParamSpec, TypeVar

from sigmafarm_common.config import Config
from sigmafarm_common.keys import KeyRecord
from sigmafarm_common.store import refusals
from sigmafarm_common.store.protocol import Rounds
from tests.store_model.memory_keeping import Keeping, in_ms
from tests.store_model.memory_moves import Moves
from tests.store_model.memory_records import BatchRecord, JobRecord

S = TypeVar("S", bound="MemoryPart")
P = ParamSpec("P")
R = TypeVar("R")


def locked(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], R]:
    """Let one thread at a time into the store: what a Lua script is to Redis."""

    @wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:  # pyright: ignore[reportPrivateUsage]
            return method(self, *args, **kwargs)

    return call


class MemoryPart:
    """The farm's records in memory, as far as every part of the store needs them."""

    def __init__(self, config: Config, now_ms: Callable[[], int] | None = None):
        self._config = config
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._lock = Condition()
        self._moves = Moves(config, self._now_ms, self._lock)
        self._keeping = Keeping(self._moves)
        #: The leading keeper, and until when it leads.
        self._leader, self._leads_until_ms = "", 0
        self._started_ms = self._now_ms()
        #: How the rounds of the leader went.
        self._rounds = Rounds()
        #: Until when somebody looks at previews; the API's keys; when each allowance is full again, in ms.
        self._watched_until_ms = 0
        self._keys: dict[str, KeyRecord] = {}
        self._allowances: dict[str, float] = {}
        #: Who waits for each batch, and until when that counts.
        self._seats: dict[str, dict[str, int]] = {}

    def _is_stale(self, batch: BatchRecord) -> bool:
        return self._now_ms() - batch.touched_ms >= in_ms(self._config.submit_stale_s)

    def _num_open(self, owner: str) -> int:
        return sum(job.batch.owner == owner for job in self._moves.open_jobs())

    def _sealed(self, batch_id: str) -> BatchRecord:
        batch = self._moves.batches.get(batch_id)
        if batch is None or not batch.is_sealed:
            raise refusals.no_batch(batch_id)
        return batch

    def _job(self, job_id: str) -> JobRecord:
        job = self._moves.find(job_id)
        if job is None:
            raise refusals.no_job(job_id)
        return job
