"""Film strips: the previews of a job that this process handed out, kept after its end for whoever looks then.

A preview is its worker's for some seconds. Those that were shown on any page are remembered here, thinned out evenly,
for the newest jobs; another process of the API, or this one after a restart, knows its own or none. Safe for threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from sigmafarm_common.store.values import Preview

#: Jobs whose strips are kept, and frames of each: a frame is 1 to 2 kB, so that all are some 16 MB.
NUM_JOBS, NUM_FRAMES = 400, 24
#: A frame beyond this is shown and not kept.
MAX_FRAME_BYTES = 16 << 10


@dataclass(frozen=True)
class Frame:
    """One preview of a strip."""

    step: int
    webp: bytes


class FilmStrips:
    """Keeps the strips of the newest jobs."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, list[Frame]]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, preview: Preview) -> None:
        """Keep a preview that was shown; the first one of a later try begins the strip anew."""
        if len(preview.webp) > MAX_FRAME_BYTES:
            return
        with self._lock:
            fence, frames = self._kept.pop(preview.job_id, (0, []))
            if preview.fence.number != fence:
                frames = []
            if not frames or preview.step > frames[-1].step:
                frames = _thinned([*frames, Frame(preview.step, preview.webp)])
            self._kept[preview.job_id] = (preview.fence.number, frames)
            while len(self._kept) > NUM_JOBS:
                self._kept.popitem(last=False)

    def of(self, job_id: str) -> tuple[Frame, ...]:
        """Return the strip of a job, oldest frame first; nothing where no preview of it was shown."""
        with self._lock:
            return tuple(self._kept.get(job_id, (0, []))[1])


def _thinned(frames: list[Frame]) -> list[Frame]:
    """Return frames with room for more: of too many, every second, the last among them."""
    return frames if len(frames) <= NUM_FRAMES else frames[::-2][::-1]
