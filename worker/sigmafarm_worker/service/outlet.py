"""The way out of a worker: finished pictures go into the object store, or are kept until they can.

While none can be delivered, whatever the reason (refused credentials, a bucket that is gone, a full disk, an address
that is none), the outlet is closed: the worker claims nothing more, so that it keeps no more pictures than it has
threads, says why, and tries again with pauses that grow. What it holds stays its own: leases are renewed, a cancel lets
a picture go, and so does a worker that ends. Nothing that storing raises is ever a verdict about a job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import Dropped, FarmUnavailable, SigmafarmError, StorageUnavailable
from sigmafarm_common.loop import Loop
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.store.protocol import WorkerSide
from sigmafarm_worker.service.desk import HeldJob
from sigmafarm_worker.service.patience import FIRST_PAUSE_S, PATIENCE_S, jittered

#: The longest pause between two tries of one picture.
LONGEST_PAUSE_S = 15.0
#: Failed tries of one picture after which the outlet is closed; an error that no waiting mends closes it at once.
CLOSING_TRIES = 2
#: Seconds between two probes of a closed outlet before which no picture waits.
PROBE_S = 5.0

#: What is done with pictures, in a sentence's words.
STORED, READ = "stored", "read"

T = TypeVar("T")


class Undelivered(Dropped):
    """A finished picture that is let go before it could be stored, or a job before its pictures could be read; the
    message says why they could not."""


class Outlet(Loop):
    """Delivers pictures; open, or closed with the reason. Safe for threads. Its own thread opens it again where no
    picture waits that could show that it is."""

    def __init__(
        self, worker_id: str, store: WorkerSide, objects: ObjectStore, clock: Clock, on_change: Callable[[], None]
    ):
        """`on_change` is called after each opening and closing, in the thread that noticed."""
        super().__init__("outlet", PROBE_S, clock)
        self._worker_id, self._store, self._objects, self._on_change = worker_id, store, objects, on_change
        self._reason = ""
        #: What could not be done when it was closed: what can be done opens it again.
        self._closed_for = ""
        self._waiting: set[HeldJob] = set()
        self._lock = threading.Lock()

    @property
    def reason(self) -> str:
        """Why nothing can be delivered; empty while the outlet is open."""
        return self._reason

    @property
    def is_closed(self) -> bool:
        return bool(self._reason)

    def deliver(self, held: HeldJob, put: Callable[[], T]) -> T:
        """Return what `put` returns, trying again until it succeeds.

        Raises Undelivered as soon as the job is to be let go, and, after PATIENCE_S, once another worker could draw it.
        """
        return self._insist(held, put, STORED)

    def fetch(self, held: HeldJob, get: Callable[[], T]) -> T:
        """Return what `get` returns of the pictures that a job begins with, in the same way."""
        return self._insist(held, get, READ)

    def _insist(self, held: HeldJob, call: Callable[[], T], done: str) -> T:
        began_s, pause_s, num_failed = self.clock.monotonic_s(), FIRST_PAUSE_S, 0
        while True:
            try:
                answer = call()
            except Exception as error:  # whatever it is, it is no fault of the job's, and the picture is kept
                num_failed += 1
                if not isinstance(error, SigmafarmError):
                    self._log.exception(f"a picture could not be {done} in an unforeseen way")
                self._note_failure(error, num_failed, done)
                problem = _sentence(error)
            else:
                if self._closed_for == done:
                    self._open()
                return answer
            self._log.warning("waiting for a service", error=problem, pause_s=pause_s, job=held.claim.job_id)
            self._wait(held, jittered(pause_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            is_long = self.clock.monotonic_s() - began_s > PATIENCE_S
            if held.drop_outcome is not None or (is_long and self._can_another(held)):
                raise Undelivered(f"its picture could not be {done}: {problem}")

    def run_once(self) -> None:
        """Open a closed outlet before which no picture waits, if the object store can be used again."""
        if self.is_closed and not self._waiting:
            self._objects.check()
            self._open()

    def _note_failure(self, error: Exception, num_failed: int, done: str) -> None:
        is_lasting = not (isinstance(error, SigmafarmError) and error.retryable)
        if is_lasting or num_failed >= CLOSING_TRIES:
            was_closed, self._reason = self.is_closed, f"pictures cannot be {done}: {_sentence(error)}"
            self._closed_for = done
            if not was_closed:
                self._log.error(f"worker takes no more jobs until pictures can be {done}", reason=self._reason)
                self._on_change()

    def _open(self) -> None:
        if not self.is_closed:
            return
        self._reason = self._closed_for = ""
        with self._lock:
            waiting = list(self._waiting)
        for held in waiting:
            held.wake.set()
        self._log.info("pictures can be stored and read again, worker takes jobs")
        self._on_change()

    def _wait(self, held: HeldJob, pause_s: float) -> None:
        """Wait until the pause is over, the outlet was opened, or the job is to be let go."""
        with self._lock:
            self._waiting.add(held)
        try:
            if held.drop_outcome is None:
                self.clock.wait(held.wake, pause_s)
        finally:
            with self._lock:
                self._waiting.discard(held)
                held.wake.clear()

    def _can_another(self, held: HeldJob) -> bool:
        """Whether another worker takes jobs of this model: it may have a way out that we have not."""
        model = held.claim.request.model
        try:
            others = [w for w in self._store.workers() if w.id != self._worker_id and w.takes_jobs]
        except FarmUnavailable:
            return False
        return any(model in worker.models for worker in others)


def _sentence(error: Exception) -> str:
    if isinstance(error, SigmafarmError):
        return str(error)
    return str(StorageUnavailable(f"unforeseen {type(error).__name__}: {error}; the worker's log may have more"))
