"""The batch that a submission writes to, until it is accepted: what was written to it is there when it is, or it is not
accepted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import Conflict, NotFound
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.store import refusals
from sigmafarm_common.store.protocol import SubmitSide


class OpenBatch:
    """Writes rows to a batch that was begun, and seals it. One call at a time.

    A Redis that crashes may come back without its newest writes: the batch, or some of its rows. Then the submission
    raises RecordsLost: nothing is accepted, and it can be said again.
    """

    def __init__(self, store: SubmitSide, batch_id: str, clock: Clock, stale_s: float):
        """A batch that nothing is written to for `stale_s` seconds is discarded by others."""
        self._store, self._id, self._clock, self._stale_s = store, batch_id, clock, stale_s
        self._num_rows = 0
        self._written_s = clock.monotonic_s()

    def add(self, rows: Sequence[RenderRequest], *, max_open_bytes: int) -> None:
        """Append rows. Raises RecordsLost, Conflict where it was discarded, and what add_rows does."""
        with self._not_lost():
            self._store.add_rows(self._id, rows, max_open_bytes=max_open_bytes)
        self._num_rows += len(rows)

    def seal(self, *, max_open_jobs: int, said: str, title: str) -> None:
        """Have it accepted, with every row that was added. Raises as `add` does."""
        with self._not_lost():
            self._store.seal_batch(
                self._id, num_rows=self._num_rows, max_open_jobs=max_open_jobs, said=said, title=title
            )

    @contextmanager
    def _not_lost(self) -> Generator[None]:
        """Tell a batch that is gone though it was written to lately from one that stood still and was discarded."""
        begun_s = self._clock.monotonic_s()
        try:
            yield
        except (Conflict, NotFound):
            if self._clock.monotonic_s() - self._written_s < self._stale_s:
                raise refusals.submit_lost(self._id) from None
            raise
        self._written_s = begun_s
