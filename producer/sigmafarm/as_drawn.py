"""Pictures of a batch as they are drawn, in the order of their ends."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from sigmafarm.waiting import Patient
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import REDRAW, StorageUnavailable
from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.store.values import Event, EventKind

if TYPE_CHECKING:
    from PIL.Image import Image

#: How long one look at the events waits for news, and how many it takes.
LOOK_S, NUM_EVENTS = 1.0, 200


def drawn_jobs(store: ReadSide, batch_id: str, clock: Clock) -> Iterator[Job]:
    """Yield each job of a batch that has its picture, once: those that are drawn by row, then others as they end.

    Ends when no job is open. Raises NotFound, or FarmUnavailable if the farm stays away for a minute.
    """
    seen: set[int] = set()
    newest = Patient(lambda: store.last_events(limit=1), clock)()
    after = newest[0].id if newest else "0"
    while True:
        is_done = Patient(lambda: store.batch(batch_id), clock)().counts.is_done
        if is_done or not seen:  # what ended before, and what the events may have lost
            for job in Patient(lambda: list(all_jobs(store, batch_id, state=JobState.SUCCEEDED)), clock)():
                if job.row not in seen:
                    seen.add(job.row)
                    yield job
        if is_done:
            return
        for event in _events(store, after, clock):
            after = event.id
            if event.kind == EventKind.JOB_SUCCEEDED and event.batch_id == batch_id:
                job = Patient(partial(store.job, event.job_id), clock)()
                if job.state is JobState.SUCCEEDED and job.row not in seen:
                    seen.add(job.row)
                    yield job


def image_of(objects: ObjectStore, job: Job) -> Image:
    """Return a job's picture, whole. Raises NotFound, or StorageUnavailable where it is not the one that was drawn."""
    from PIL import Image  # brings a tenth of a second: only when asked

    data = objects.get(job.image_key)
    if hashlib.sha256(data).hexdigest() != job.sha256:
        raise StorageUnavailable(f"{job.image_key} of job {job.id} is damaged: {REDRAW}")
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _events(store: ReadSide, after: str, clock: Clock) -> list[Event]:
    return Patient(lambda: store.events(after=after, limit=NUM_EVENTS, block_s=LOOK_S), clock)()
