"""One call per worker every quarter lease, for all its jobs: it lives, they moved, which of them are to be dropped?"""

from __future__ import annotations

from collections.abc import Callable

from sigmafarm_common.clock import Clock
from sigmafarm_common.loop import Loop
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.protocol import WorkerSide
from sigmafarm_worker.service.desk import Desk

#: Renewals in a lease.
RENEWALS_PER_LEASE = 4


class Renewer(Loop):
    """Tells the store about the desk. While the store is away the engine draws on: leases are judged only after the
    store has been back for a whole lease."""

    def __init__(self, store: WorkerSide, desk: Desk, info: Callable[[], WorkerInfo], *, lease_s: float, clock: Clock):
        super().__init__("renewer", lease_s / RENEWALS_PER_LEASE, clock)
        self._store, self._desk, self._info = store, desk, info

    def run_once(self) -> None:
        """Renew once and drop what the store says."""
        self._desk.drop_all(self._store.renew(self._info(), self._desk.beats()))
