"""Concludes batches: when the last job of one is over, removes what lost tries left and writes its manifest.

A loop of its own beside the keeper that leads, so that a slow bucket does not hold up dispatch. A worker that froze,
was cut off, or whose job was cancelled, may upload a picture after that and die before it removes it again. So each
batch is swept once more when every lease of its time is long over; one that had mishaps twice more, when the patience
of any worker is over, and a day later. The plan stands in the store: whoever leads by then keeps it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sigmafarm_common.config import Config
from sigmafarm_common.errors import NotFound, SpoiledRecord, StoreUnavailable
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.loop import Loop
from sigmafarm_common.manifest import write_manifest
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.records import Batch
from sigmafarm_common.store.protocol import ConcluderSide
from sigmafarm_common.sweep import had_mishaps, sweep_batch
from sigmafarm_common.uploads.removing import remove_unused

#: Leases after a batch's end at which it is swept again.
SWEEP_AGAIN_LEASES = 4
#: Seconds after its end at which one that had mishaps is swept once more: longer than a worker keeps a picture that it
#: cannot deliver, and longer than a machine sleeps.
LATE_SWEEPS_S = (1200.0, 86_400.0)
#: Batches that are swept again in one round.
SWEEPS_PER_ROUND = 20
#: Seconds that one round concludes at most, how many batches at once, and how many are asked for at a time.
ROUND_S = 5.0
CONCLUDED_AT_ONCE = 4
BATCHES_PER_PAGE = 50
#: Seconds until a batch is tried again that could not be concluded: doubled each time.
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
#: Later than the end of any batch.
END_OF_TIME_MS = 2**53


@dataclass(frozen=True)
class Failed:
    """A batch that could not be concluded: when to try again, and how long that wait was."""

    again_s: float
    wait_s: float


class Concluder(Loop):
    """Concludes the batches that are over, every tick_s, while its keeper leads."""

    def __init__(self, config: Config, store: ConcluderSide, objects: ObjectStore, keeper: Keeper):
        super().__init__("concluder", config.tick_s, keeper.clock)
        self._store, self._objects, self._keeper = store, objects, keeper
        self._sweep_after_s = SWEEP_AGAIN_LEASES * config.lease_s
        #: Batches that could not be concluded, and when to try again. Each thread touches the entry of its own batch.
        self._failed: dict[str, Failed] = {}

    def run_once(self) -> list[str]:
        """Conclude what is over for as long as there is something, ROUND_S at most; sweep again what is due; remove
        uploads that nobody uses; return the batches that were concluded. One that fails stops no other, and is tried
        again later."""
        if not self._keeper.is_leader:
            return []
        end_s, tried, done = self.clock.monotonic_s() + ROUND_S, set[str](), list[str]()
        with ThreadPoolExecutor(CONCLUDED_AT_ONCE, thread_name_prefix="concluder") as pool:
            while due := [batch_id for batch_id in self._due() if batch_id not in tried]:
                tried.update(due)
                done += [
                    batch_id
                    for batch_id, is_done in zip(due, pool.map(self._try_to_conclude, due), strict=True)
                    if is_done
                ]
                if self.clock.monotonic_s() >= end_s or not self._keeper.is_leader:
                    break
        self._sweep_again()
        if removed := remove_unused(self._store, self._objects):
            self._log.info("uploaded pictures that nobody uses are removed", num=len(removed))
        return done

    def _due(self) -> list[str]:
        """Return batches that are over, without those that failed a moment ago."""
        now_s = self.clock.monotonic_s()
        found = self._store.finished_batches(limit=BATCHES_PER_PAGE + len(self._failed))
        self._failed = {i: failed for i, failed in self._failed.items() if i in found}
        return [i for i in found if i not in self._failed or self._failed[i].again_s <= now_s]

    def _try_to_conclude(self, batch_id: str) -> bool:
        """Conclude a batch, or remember when to try again. Raises StoreUnavailable: without it none can go on."""
        try:
            self._conclude(batch_id)
        except Exception as error:
            if isinstance(error, StoreUnavailable) and not isinstance(error, SpoiledRecord):
                raise
            before = self._failed.get(batch_id)
            wait_s = min(2 * before.wait_s, LONGEST_WAIT_S) if before else max(self.tick_s, SHORTEST_WAIT_S)
            self._failed[batch_id] = Failed(self.clock.monotonic_s() + wait_s, wait_s)
            if before is None:
                self._log.warning(
                    "a batch cannot be concluded now, it is tried again", batch=batch_id, error=str(error)
                )
            return False
        self._failed.pop(batch_id, None)
        return True

    def _conclude(self, batch_id: str) -> None:
        try:
            if had_mishaps(self._store, batch_id):
                sweep_batch(self._store, self._objects, batch_id)
            batch = write_manifest(self._store, self._objects, batch_id)
        except NotFound:
            self._log.warning("a batch that is over has no record, nothing to conclude", batch=batch_id)
            self._store.note_manifest(batch_id, END_OF_TIME_MS)
            return
        self._store.plan_sweep(batch_id, self._sweep_after_s)  # first: a leader that dies now leaves no batch unplanned
        is_spoiled = batch.counts.is_done and not batch.finished_ms  # nobody knows its end: this one it is
        self._store.note_manifest(batch_id, END_OF_TIME_MS if is_spoiled else batch.finished_ms, batch.revision)

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
