"""How a batch comes into the memory store: begun, filled, sealed; or discarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sigmafarm_common.job import Batch, RenderRequest
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import new_batch_id
from sigmafarm_common.store.memory_part import MemoryPart, locked
from sigmafarm_common.store.memory_records import BatchRecord
from sigmafarm_common.store.protocol import Ticket


class MemorySubmitting(MemoryPart):
    """Begin, add rows in order, seal."""

    @locked
    def begin_batch(
        self, *, name: str, owner: str, priority: int, defaults: Mapping[str, Any], idempotency_key: str | None = None
    ) -> Ticket:
        holder = self._moves.batches.get(self._moves.keys.get((owner, idempotency_key or ""), ""))
        if holder and holder.is_sealed:
            return Ticket(holder.id, is_new=False)
        if holder and not self._is_stale(holder):
            raise refusals.being_submitted(idempotency_key, holder.id, self._config.submit_stale_s)
        if holder:
            self._moves.forget(holder)
        batch_id, now_ms = new_batch_id(), self._now_ms()
        batch = BatchRecord(batch_id, name, owner, priority, dict(defaults), idempotency_key, now_ms, now_ms)
        self._moves.batches[batch_id] = batch
        if idempotency_key:
            self._moves.keys[owner, idempotency_key] = batch_id
        return Ticket(batch_id, is_new=True)

    @locked
    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest]) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch is None or batch.is_sealed:
            raise refusals.takes_no_rows(batch_id)
        for request in requests:
            batch.touched_ms = self._now_ms()
            batch.add(request, batch.touched_ms)

    @locked
    def seal_batch(self, batch_id: str) -> Batch:
        batch = self._moves.batches.get(batch_id)
        if batch is None:
            raise refusals.no_open_batch(batch_id)
        if not batch.is_sealed:
            batch.is_sealed = True
            self._moves.link_all(batch)
            self._moves.totals["submitted"] += len(batch.jobs)
            self._moves.emit("batch.submitted", batch_id)
            self._moves.conclude(batch)
        return batch.snapshot()

    @locked
    def discard_batch(self, batch_id: str) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch and batch.is_sealed:
            raise refusals.already_accepted(batch_id)
        if batch:
            self._moves.forget(batch)
