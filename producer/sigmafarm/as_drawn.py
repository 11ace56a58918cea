"""Pictures of a batch as they are drawn, in the order of their ends."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

from sigmafarm.awaited import Awaited
from sigmafarm.pausing import POLL_S, Pause, patiently
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import REDRAW, StorageUnavailable
from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.store.values import EventKind

if TYPE_CHECKING:
    from PIL.Image import Image

#: How long one look at the events waits for news, and how many it takes.
LOOK_S, NUM_EVENTS = 1.0, 200


def drawn_jobs(
    store: ReadSide, batch_id: str, clock: Clock, *, look_s: float = LOOK_S
) -> Generator[Pause | Job, None, None]:
    """Yield each job of a batch that has its picture, once: those that are drawn by row, then others as they end; and
    pauses. With a `look_s` of 0 nothing waits in a question to the farm, and the pauses are longer instead.

    Ends when no job is open. Raises NotFound, RecordsLost if the batch goes meanwhile, or FarmUnavailable if the farm
    stays away for a minute.
    """
    seen: set[int] = set()
    newest = yield from patiently(lambda: store.last_events(limit=1), clock)
    after = newest[0].id if newest else "0"
    read = Awaited(lambda: store.batch(batch_id), f"batch {batch_id}")
    while True:
        batch = yield from patiently(read, clock)
        is_done = batch.counts.is_done
        if is_done or not seen:  # what ended before, and what the events may have lost
            for job in (yield from patiently(partial(_with_pictures, store, batch_id), clock)):
                if job.row not in seen:
                    seen.add(job.row)
                    yield job
        if is_done:
            return
        events = yield from patiently(partial(store.events, after=after, limit=NUM_EVENTS, block_s=look_s), clock)
        for event in events:
            after = event.id
            if event.kind == EventKind.JOB_SUCCEEDED and event.batch_id == batch_id:
                job = yield from patiently(partial(store.job, event.job_id), clock)
                if job.state is JobState.SUCCEEDED and job.row not in seen:
                    seen.add(job.row)
                    yield job
        if not events and not look_s:
            yield Pause(POLL_S)


def _with_pictures(store: ReadSide, batch_id: str) -> list[Job]:
    return list(all_jobs(store, batch_id, state=JobState.SUCCEEDED))


def image_of(objects: ObjectStore, job: Job) -> Image:
    """Return a job's picture, whole. Raises NotFound, or StorageUnavailable where it is not the one that was drawn."""
    from PIL import Image  # brings a tenth of a second: only when asked

    data = objects.get(job.image_key)
    if hashlib.sha256(data).hexdigest() != job.sha256:
        raise StorageUnavailable(f"{job.image_key} of job {job.id} is damaged: {REDRAW}")
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
