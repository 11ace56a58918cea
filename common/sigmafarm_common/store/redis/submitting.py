"""How a batch comes into the store: begun, filled, sealed; or discarded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sigmafarm_common.records import Batch
from sigmafarm_common.settings import RenderRequest, uploads_of
from sigmafarm_common.states import BatchPhase
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import is_batch_id, new_batch_id
from sigmafarm_common.store.packing import Packed, packed
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import REMOVALS_PER_CALL, Keyspace, in_ms
from sigmafarm_common.store.redis.reading import Reading
from sigmafarm_common.store.redis.safety import Safety
from sigmafarm_common.store.redis.scripts import GONE, QUOTA, ROWS_MISSING
from sigmafarm_common.store.values import Ticket

#: Rows and bytes that one call of add_rows carries at most: it must be answered in time over any line.
ROWS_PER_CALL = 100
BYTES_PER_CALL = 1 << 18


class Submitting:
    """Begin, add rows in order, seal."""

    def __init__(self, redis: Keyspace, reading: Reading, safety: Safety):
        self._redis, self._reading, self._safety = redis, reading, safety

    def begin_batch(
        self,
        *,
        name: str,
        owner: str,
        priority: int,
        defaults: Mapping[str, Any],
        idempotency_key: str | None = None,
        reuse: bool = False,
        parent: str = "",
        trace: str = "",
    ) -> Ticket:
        self._safety.require_safe_server()
        # The id is made out here, so that a second try after a lost reply finds its own batch and not a rival's.
        settings = json.dumps(dict(defaults))
        about = (name, owner, priority, settings, idempotency_key or "")
        return self._begin(new_batch_id(), *about, reuse, parent, trace)

    @guarded
    def _begin(
        self,
        batch_id: str,
        name: str,
        owner: str,
        priority: int,
        settings: str,
        key: str,
        reuse: bool,
        parent: str,
        trace: str,
    ) -> Ticket:
        stale_s = self._redis.config.submit_stale_s
        said = (batch_id, name, owner, priority, settings, key, in_ms(stale_s), int(reuse), parent, trace)
        held, answer, *known = self._redis.run("begin_batch", *said)
        if answer == "busy":
            raise refusals.being_submitted(key, held, stale_s)
        return Ticket(batch_id=held, is_new=answer == "new", said=known[0] if known else "")

    def add_rows(self, batch_id: str, requests: Sequence[RenderRequest], *, max_open_bytes: int = 0) -> None:
        # The place is read once, so that a second try after a lost reply does not take what it added for another's.
        place, done = self._num_rows(batch_id), 0
        for piece in packed(requests).pieces(ROWS_PER_CALL, BYTES_PER_CALL):
            end = done + len(piece.rows)
            self._add_piece(batch_id, place + done, requests[done:end], piece, max_open_bytes)
            done = end

    @guarded
    def _num_rows(self, batch_id: str) -> int:
        phase, rows = None, "0"
        if is_batch_id(batch_id):
            phase, rows = self._redis.client.hmget(self._redis.key("batch", batch_id), "phase", "rows")
        if phase != BatchPhase.OPEN:
            raise refusals.takes_no_rows(batch_id)
        return int(rows)

    @guarded
    def _add_piece(
        self, batch_id: str, first: int, requests: Sequence[RenderRequest], piece: Packed, max_open_bytes: int
    ) -> None:
        rows: list[Any] = []
        for r, row in zip(requests, piece.rows, strict=True):
            rows += (r.model, r.cost, r.num_calls, row.same, row.record)
        uploads = {sha256: field for request in requests for sha256, field in uploads_of(request).items()}
        said: list[Any] = [value for text in piece.texts.items() for value in text]
        said += [*uploads, *rows]
        sizes = (len(piece.texts), len(uploads))
        answer, *about = self._redis.run("add_rows", batch_id, first, max_open_bytes, *sizes, *said)
        if answer == QUOTA:
            raise refusals.too_many_bytes(about[1], int(about[0]), max_open_bytes)
        if answer == GONE:
            raise refusals.upload_gone(uploads[about[0]], about[0])
        if answer == ROWS_MISSING:
            raise refusals.submit_lost(batch_id)
        if answer < 0:
            raise refusals.takes_no_rows(batch_id)

    @guarded
    def seal_batch(
        self, batch_id: str, *, num_rows: int | None = None, max_open_jobs: int = 0, said: str = "", title: str = ""
    ) -> Batch:
        answer, *about = self._redis.run(
            "seal_batch", batch_id, max_open_jobs, said, title, -1 if num_rows is None else num_rows
        )
        if answer == QUOTA:
            raise refusals.too_many_jobs(about[2], int(about[0]), int(about[1]), max_open_jobs)
        if answer == ROWS_MISSING:
            raise refusals.rows_lost(batch_id, int(about[0]), num_rows or 0)
        if not answer:
            raise refusals.no_open_batch(batch_id)
        return self._reading.batch(batch_id)

    @guarded
    def discard_batch(self, batch_id: str) -> None:
        if not self._discard(batch_id):
            raise refusals.already_accepted(batch_id)

    def _discard(self, batch_id: str) -> bool:
        """Forget an open batch a piece at a time; return whether it was none that is sealed."""
        left = 1
        while left > 0:
            left = self._redis.run("discard_batch", batch_id, REMOVALS_PER_CALL)
        return left == 0
