"""What dashboards and the API ask of the memory store: pace, totals, failures, previews, seats; keys and allowances."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sigmafarm_common.keys import KeyRecord
from sigmafarm_common.store import refusals
from sigmafarm_common.store.protocol import PACE_ENTRIES, PACE_S, PREVIEW_MS, Event, Pace, Preview
from tests.store_model.memory_keeping import in_ms
from tests.store_model.memory_part import MemoryPart, locked


class MemoryWatching(MemoryPart):
    """What is watched, and who may watch."""

    @locked
    def last_events(self, *, limit: int = 100) -> list[Event]:
        return self._moves.events.last(limit)

    @locked
    def failures(self, batch_id: str) -> dict[str, int]:
        batch = self._moves.batches.get(batch_id)
        said = batch.failures if batch and batch.is_sealed else {}
        return {code: said[code] for code in sorted(said) if said[code]}

    @locked
    def held_jobs(self, worker_id: str) -> list[str]:
        return sorted(self._moves.held.get(worker_id, ()))

    @locked
    def pace(self) -> list[Pace]:
        since = self._now_ms() // (PACE_S * 1000) - PACE_ENTRIES
        kept = sorted((slot, said) for slot, said in self._moves.finishes.items() if slot > since)
        return [Pace(slot * PACE_S * 1000, pictures, work / 1e6) for slot, (pictures, work) in kept]

    @locked
    def totals(self) -> dict[str, int]:
        said = self._moves.totals
        return {name: said[name] for name in sorted(said) if said[name]}

    @locked
    def open_jobs(self, owner: str) -> int:
        return self._num_open(owner)

    # -- previews

    @locked
    def want_previews(self, for_s: float = 10.0) -> None:
        self._watched_until_ms = self._now_ms() + in_ms(for_s)

    @locked
    def are_previews_wanted(self) -> bool:
        return self._now_ms() < self._watched_until_ms

    @locked
    def show(self, previews: Iterable[Preview]) -> None:
        for preview in previews:
            if job := self._moves.running(preview.job_id, preview.fence):
                self._moves.previews[job.id] = (preview, self._now_ms() + PREVIEW_MS)
                job.step = preview.step
                job.batch.revision += 1

    @locked
    def preview(self, job_id: str) -> Preview | None:
        preview, until_ms = self._moves.previews.get(job_id, (None, 0))
        return preview if self._now_ms() < until_ms else None

    # -- clients that wait

    @locked
    def take_seat(self, batch_id: str, seat_id: str, *, for_s: float) -> None:
        self._seats.setdefault(batch_id, {})[seat_id] = self._now_ms() + in_ms(for_s)

    @locked
    def leave_seat(self, batch_id: str, seat_id: str) -> None:
        self._seats.get(batch_id, {}).pop(seat_id, None)

    @locked
    def num_seats(self, batch_id: str) -> int:
        return sum(until_ms > self._now_ms() for until_ms in self._seats.get(batch_id, {}).values())

    # -- drain

    @locked
    def drain_worker(self, worker_id: str, *, is_draining: bool = True) -> None:
        if worker_id not in self._moves.workers:
            raise refusals.no_worker(worker_id)
        (self._moves.draining.add if is_draining else self._moves.draining.discard)(worker_id)

    @locked
    def is_drained(self, worker_id: str) -> bool:
        return worker_id in self._moves.draining

    # -- keys and allowances

    @locked
    def add_key(self, key: KeyRecord) -> None:
        if self._keys.setdefault(key.id, key) != key:
            raise refusals.key_taken(key.id)

    @locked
    def keys(self) -> list[KeyRecord]:
        return sorted(self._keys.values(), key=lambda k: (k.created_ms, k.id))

    @locked
    def key(self, key_id: str) -> KeyRecord | None:
        return self._keys.get(key_id)

    @locked
    def revoke_key(self, key_id: str) -> None:
        if self._keys.pop(key_id, None) is None:
            raise refusals.no_key(key_id)

    @locked
    def spend(self, name: str, *, per_s: float, burst: float, amount: float = 1.0) -> float:
        now_ms, unit_ms = self._now_ms(), 1000 / per_s
        full_at_ms = max(self._allowances.get(name, 0.0), now_ms) + unit_ms * amount
        wait_ms = full_at_ms - unit_ms * max(burst, amount) - now_ms
        if wait_ms > 0:
            return math.ceil(wait_ms) / 1000
        self._allowances[name] = full_at_ms
        return 0.0
