"""What the API must have to do its work: Redis and the object store. Workers may come later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.refusals import newer_records
from sigmafarm_common.store.values import SCHEMA_VERSION

#: For how long an answer of the object store counts: asking writes a small object. And how long one is waited for.
OBJECTS_S, OBJECTS_WAIT_S = 10.0, 1.5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    message: str


class Readiness:
    """Looks when it is asked. Raises nothing: what does not answer is a finding."""

    def __init__(self, store: RedisStore, objects: Callable[[], ObjectStore], clock: Clock):
        self._store, self._objects, self._clock = store, objects, clock
        self._lock = threading.Lock()
        self._prober = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._probe: Future[Check] | None = None
        self._next_probe_s = 0.0

    def look(self) -> list[Check]:
        """Return the checks, each with the cure where something is missing."""
        return [_check("redis", "it answers", self._ask_store), self._look_at_objects(), self._look_at_workers()]

    def is_storage_ready(self) -> bool:
        """Whether pictures can be stored, as the newest probe saw it."""
        return self._look_at_objects().is_ok

    def _ask_store(self) -> None:
        """Raise what a submission would be refused with."""
        self._store.require_safe_server()
        if (version := self._store.records_version()) > SCHEMA_VERSION:
            raise newer_records(version)

    def _look_at_objects(self) -> Check:
        """Return what the last probe said. One probe at a time, however many ask, and a slow one holds up nobody."""
        with self._lock:
            is_due = self._probe is None or (self._probe.done() and self._clock.monotonic_s() >= self._next_probe_s)
            if self._probe is None or is_due:
                self._next_probe_s = self._clock.monotonic_s() + OBJECTS_S
                self._probe = self._prober.submit(self._ask_objects)
            probe = self._probe
        try:
            return probe.result(OBJECTS_WAIT_S)
        except FutureTimeoutError:
            return Check("objects", False, f"no answer within {OBJECTS_WAIT_S:g} s: check the server behind the bucket")

    def _ask_objects(self) -> Check:
        return _check("objects", "it can be written and read", lambda: self._objects().check())

    def _look_at_workers(self) -> Check:
        try:
            workers = self._store.workers()
        except SigmafarmError as error:
            return Check("workers", False, str(error))
        num, ill = sum(w.takes_jobs for w in workers), [w for w in workers if w.failing]
        said = f"{num} take jobs" if num else "none takes jobs now: submissions wait for one"
        return Check("workers", True, said + (f"; {ill[0].id}: {ill[0].failing}" if ill else ""))


def _check(name: str, good: str, ask: Callable[[], None]) -> Check:
    try:
        ask()
    except SigmafarmError as error:
        return Check(name, False, str(error))
    return Check(name, True, good)
