"""What people ask of a worker while it draws: let go of what was cancelled or paused, show what becomes of the others,
take no more of them. Renewals ask for drops too, but much may be drawn for nobody between two of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sigmafarm_common.clock import Clock
from sigmafarm_common.loop import Loop
from sigmafarm_common.store.protocol import WorkerSide
from sigmafarm_common.store.values import Preview
from sigmafarm_worker.service.desk import Desk

#: Seconds between two looks: a cancel reaches the engine, and a preview its job's page, within a second.
LOOK_S = 0.8
#: Quality of a preview's WEBP file: a few hundred bytes at an eighth of the picture's sides.
PREVIEW_QUALITY = 75


class Poller(Loop):
    """Drops what is not wanted any more, sends previews while somebody looks at the farm, and tells the worker when it
    is drained and when no more."""

    def __init__(self, worker_id: str, store: WorkerSide, desk: Desk, on_drained: Callable[[bool], None], clock: Clock):
        super().__init__("poller", LOOK_S, clock)
        self._worker_id, self._store, self._desk, self._on_drained = worker_id, store, desk, on_drained
        self._is_drained = False

    def run_once(self) -> None:
        """Ask once what is wanted, and do it."""
        is_drained = self._store.is_drained(self._worker_id)
        if is_drained != self._is_drained:
            self._log.info("worker takes no more jobs" if is_drained else "worker takes jobs again")
            self._on_drained(is_drained)
            self._is_drained = is_drained
        self._desk.drop_all(self._store.drops(self._desk.tries()))
        if self._desk.num_jobs and self._store.are_previews_wanted():
            seen = self._desk.glimpses()
            self._store.show([Preview(c.job_id, c.fence, g.step, webp(g.pixels)) for c, g in seen if g.step])


def webp(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels [H, W, 3] as a small WEBP file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=PREVIEW_QUALITY, method=0)
    return buffer.getvalue()
