"""Asks the store for what a forecast needs, once in a while, for everybody who asks meanwhile."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sigmafarm.forecast.busy import NUM_BATCHES, busy_spans
from sigmafarm.forecast.forecast import Eta, Forecast
from sigmafarm.forecast.line import Turn
from sigmafarm_common.clock import Clock
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide

#: For how long a forecast is good, and of how many batches it is remembered how long a job took.
GOOD_S, REMEMBERED = 1.0, 500


class Forecaster:
    """The newest forecast of a farm. Safe for threads."""

    def __init__(self, store: ReadSide, clock: Clock):
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._newest: Forecast | None = None
        self._good_until_s = 0.0
        self._job_s: OrderedDict[str, float] = OrderedDict()

    def of_batch(self, batch: Batch) -> Eta | None:
        """Return when a batch will be done; None where nobody can say."""
        if batch.counts.is_done or batch.is_paused:
            return None
        now = self.now()
        is_asked = batch.counts.succeeded and now.is_near_its_end(batch)
        return now.of_batch(batch, job_s=self._seconds_of_a_job(batch.id) if is_asked else 0.0)

    def of_job(self, job: Job) -> tuple[Turn | None, Eta | None]:
        """Return where a waiting job stands, and when its picture is there; None for what nobody can say."""
        if job.state is not JobState.QUEUED:
            return None, None
        return self.now().of_job(job, self._store.place_of(job.id, job.model))

    def _seconds_of_a_job(self, batch_id: str) -> float:
        with self._lock:
            if batch_id in self._job_s:
                return self._job_s[batch_id]
        drawn = self._store.jobs(batch_id, state=JobState.SUCCEEDED, limit=1)
        with self._lock:
            self._job_s[batch_id] = max([0.0, *((job.finished_ms - job.started_ms) / 1000 for job in drawn)])
            while len(self._job_s) > REMEMBERED:
                self._job_s.popitem(last=False)
            return self._job_s[batch_id]

    def now(self) -> Forecast:
        """Return what the farm's figures tell, of this second. Raises StoreUnavailable."""
        with self._lock:
            if self._newest is None or self._clock.monotonic_s() >= self._good_until_s:
                store = self._store
                now_ms = store.now_ms()
                busy = busy_spans(store.batches(limit=NUM_BATCHES), now_ms)
                self._newest = Forecast.of(store.pace(), store.lines(), store.workers(), now_ms, busy)
                self._good_until_s = self._clock.monotonic_s() + GOOD_S
            return self._newest
