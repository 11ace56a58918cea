"""What the API must have to do its work: Redis, a keeper that leads, the object store. Workers may come later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.store.protocol import Store

#: For how long an answer of the object store counts: asking writes a small object.
OBJECTS_S = 10.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    message: str


class Readiness:
    """Looks when it is asked. Raises nothing: what does not answer is a finding."""

    def __init__(
        self, store: Store, objects: Callable[[], ObjectStore], monotonic_s: Callable[[], float] = time.monotonic
    ):
        self._store, self._objects, self._monotonic_s = store, objects, monotonic_s
        self._lock = threading.Lock()
        self._objects_check: tuple[float, Check] | None = None

    def look(self) -> list[Check]:
        """Return the checks, each with the cure where something is missing."""
        return [_checked("redis", "it answers", self._ask_store), self._look_at_objects(), self._look_at_workers()]

    def _ask_store(self) -> None:
        self._store.totals()

    def _look_at_objects(self) -> Check:
        with self._lock:  # one probe, however many ask
            now_s = self._monotonic_s()
            if self._objects_check is None or now_s - self._objects_check[0] > OBJECTS_S:
                check = _checked("objects", "it can be written and read", lambda: self._objects().check())
                self._objects_check = (now_s, check)
            return self._objects_check[1]

    def _look_at_workers(self) -> Check:
        try:
            num = len([w for w in self._store.workers() if not w.is_draining])
        except SigmafarmError as error:
            return Check("workers", False, str(error))
        return Check("workers", True, f"{num} take jobs" if num else "none takes jobs now: submissions wait for one")


def _checked(name: str, good: str, ask: Callable[[], None]) -> Check:
    try:
        ask()
    except SigmafarmError as error:
        return Check(name, False, str(error))
    return Check(name, True, good)
