"""How a batch comes into the memory store: begun, filled, sealed; or discarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sigmafarm_common.records import Batch
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import new_batch_id
from sigmafarm_common.store.packing import packed
from sigmafarm_common.store.protocol import Ticket
from tests.store_model.memory_part import MemoryPart, locked
from tests.store_model.memory_records import BatchRecord


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
    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest], *, max_open_bytes: int = 0) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch is None or batch.is_sealed:
            raise refusals.takes_no_rows(batch_id)
        open_bytes, more = self._open_bytes(batch.owner), packed(requests)
        new = {name: text for name, text in more.texts.items() if name not in batch.texts}
        size_bytes = sum(row.size_bytes for row in more.rows) + sum(len(text.encode()) for text in new.values())
        if max_open_bytes and open_bytes + size_bytes > max_open_bytes:
            raise refusals.too_many_bytes(batch.owner, open_bytes, max_open_bytes)
        batch.texts.update(new)
        batch.size_bytes += size_bytes
        for request in requests:
            batch.touched_ms = self._now_ms()
            batch.add(request, batch.touched_ms)

    @locked
    def seal_batch(self, batch_id: str, *, max_open_jobs: int = 0) -> Batch:
        batch = self._moves.batches.get(batch_id)
        if batch is None:
            raise refusals.no_open_batch(batch_id)
        if not batch.is_sealed:
            self._check_open_jobs(batch, len(batch.jobs), max_open_jobs)
            batch.is_sealed = True
            self._moves.link_all(batch)
            self._moves.totals["submitted"] += len(batch.jobs)
            self._moves.emit("batch.submitted", batch_id)
            self._moves.conclude(batch)
        return batch.snapshot()

    def _check_open_jobs(self, batch: BatchRecord, num_more: int, limit: int) -> None:
        num_open = self._num_open(batch.owner)
        if limit and num_open + num_more > limit:
            raise refusals.too_many_jobs(batch.owner, num_open, num_more, limit)

    def _open_bytes(self, owner: str) -> int:
        return sum(b.size_bytes for b in self._moves.batches.values() if b.owner == owner and not b.finished_ms)

    @locked
    def discard_batch(self, batch_id: str) -> None:
        batch = self._moves.batches.get(batch_id)
        if batch and batch.is_sealed:
            raise refusals.already_accepted(batch_id)
        if batch:
            self._moves.forget(batch)
