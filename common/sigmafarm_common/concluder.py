"""Concludes batches: when the last job of one is over, removes what lost tries left and writes its manifest.

A loop of its own beside the keeper that leads, so that a slow bucket does not hold up dispatch. A worker that froze, or
whose job was cancelled, may upload a picture after that and die before it removes it again: each batch is swept once
more when every lease of its time is long over. That second sweep is remembered in memory only; should this process end
first, `sigmafarm sweep` finds what is left.
"""

from __future__ import annotations

from collections import deque

from sigmafarm_common.config import Config
from sigmafarm_common.errors import NotFound
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.loop import Loop
from sigmafarm_common.manifest import write_manifest
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.sweep import sweep_batch

#: Leases after a batch's end at which it is swept again.
SWEEP_AGAIN_LEASES = 4
#: Later than the end of any batch.
END_OF_TIME_MS = 2**53


class Concluder(Loop):
    """Concludes the batches that are over, every tick_s, while its keeper leads."""

    def __init__(self, config: Config, store: Store, objects: ObjectStore, keeper: Keeper):
        super().__init__("concluder", config.tick_s, keeper.clock)
        self._store, self._objects, self._keeper = store, objects, keeper
        self._sweep_after_s = SWEEP_AGAIN_LEASES * config.lease_s
        #: When to sweep again, and which batch; in the order of time.
        self._sweeps: deque[tuple[float, str]] = deque()

    def run_once(self) -> list[str]:
        """Conclude what is over, sweep again what is due, and return the batches that were concluded."""
        if not self._keeper.is_leader:
            return []
        due = self._store.finished_batches()
        for batch_id in due:
            self._conclude(batch_id)
        self._sweep_again()
        return due

    def _conclude(self, batch_id: str) -> None:
        try:
            sweep_batch(self._store, self._objects, batch_id)
            batch = write_manifest(self._store, self._objects, batch_id)
        except NotFound:
            self._log.warning("a batch that is over has no record, nothing to conclude", batch=batch_id)
            self._store.manifest_written(batch_id, END_OF_TIME_MS)
            return
        self._store.manifest_written(batch_id, batch.finished_ms)
        self._sweeps.append((self.clock.monotonic_s() + self._sweep_after_s, batch_id))

    def _sweep_again(self) -> None:
        while self._sweeps and self._sweeps[0][0] <= self.clock.monotonic_s():
            _, batch_id = self._sweeps.popleft()
            try:
                strays = sweep_batch(self._store, self._objects, batch_id)
            except NotFound:
                continue  # forgotten meanwhile
            for key in strays:
                self._log.warning("a late picture was removed", batch=batch_id, key=key)
