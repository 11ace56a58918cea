"""Concludes batches: when the last job of one is over, removes what lost tries left and writes its manifest.

A loop of its own beside the keeper that leads, so that a slow bucket does not hold up dispatch. A worker that froze,
was cut off, or whose job was cancelled, may upload a picture after that and die before it removes it again. So each
batch is swept once more when every lease of its time is long over; one that had mishaps twice more, when the patience
of any worker is over, and a day later. The plan stands in the store: whoever leads by then keeps it.
"""

from __future__ import annotations

from sigmafarm_common.config import Config
from sigmafarm_common.errors import NotFound
from sigmafarm_common.job import Batch
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.loop import Loop
from sigmafarm_common.manifest import write_manifest
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.sweep import had_mishaps, sweep_batch

#: Leases after a batch's end at which it is swept again.
SWEEP_AGAIN_LEASES = 4
#: Seconds after its end at which one that had mishaps is swept once more: longer than a worker keeps a picture that it
#: cannot deliver, and longer than a machine sleeps.
LATE_SWEEPS_S = (1200.0, 86_400.0)
#: Batches that are swept again in one round.
SWEEPS_PER_ROUND = 20
#: Later than the end of any batch.
END_OF_TIME_MS = 2**53


class Concluder(Loop):
    """Concludes the batches that are over, every tick_s, while its keeper leads."""

    def __init__(self, config: Config, store: Store, objects: ObjectStore, keeper: Keeper):
        super().__init__("concluder", config.tick_s, keeper.clock)
        self._store, self._objects, self._keeper = store, objects, keeper
        self._sweep_after_s = SWEEP_AGAIN_LEASES * config.lease_s

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
            if had_mishaps(self._store, batch_id):
                sweep_batch(self._store, self._objects, batch_id)
            batch = write_manifest(self._store, self._objects, batch_id)
        except NotFound:
            self._log.warning("a batch that is over has no record, nothing to conclude", batch=batch_id)
            self._store.manifest_written(batch_id, END_OF_TIME_MS)
            return
        self._store.plan_sweep(batch_id, self._sweep_after_s)  # first: a leader that dies now leaves no batch unplanned
        self._store.manifest_written(batch_id, batch.finished_ms)

    def _sweep_again(self) -> None:
        for batch_id in self._store.due_sweeps(limit=SWEEPS_PER_ROUND):
            try:
                strays = sweep_batch(self._store, self._objects, batch_id)
                self._store.plan_sweep(batch_id, self._next_sweep_s(self._store.batch(batch_id)))
            except NotFound:
                self._store.plan_sweep(batch_id, None)  # forgotten meanwhile
                continue
            for key in strays:
                self._log.warning("a late picture was removed", batch=batch_id, key=key)

    def _next_sweep_s(self, batch: Batch) -> float | None:
        """Return the seconds until a batch that was just swept is swept again, None for never: a batch that was retried
        is planned anew at its next end."""
        if not batch.finished_ms or not had_mishaps(self._store, batch.id):
            return None
        since_s = (self._store.now_ms() - batch.finished_ms) / 1000
        return next((at_s - since_s for at_s in LATE_SWEEPS_S if at_s > since_s), None)
