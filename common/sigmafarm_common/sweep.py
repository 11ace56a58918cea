"""Removes pictures that nobody's record names: those of a worker that died between the upload and the finish.

Safe at any time, because the objects are listed before the jobs are read. What was listed belongs to a try that had
begun by then; of a job that is read as over, every such try has ended, and a finish of it would be refused. A retry
draws under a fence, and so a key, of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.objects.protocol import ObjectInfo, ObjectStore
from sigmafarm_common.picture_keys import parsed
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide


def had_mishaps(store: ReadSide, batch_id: str) -> bool:
    """Whether any job of a batch had a try that did not end in its picture, as far as its records know."""
    return any(may_have_left(job) for job in all_jobs(store, batch_id))


def may_have_left(job: Job) -> bool:
    """Whether a job is over and had a try that did not end in its picture."""
    return job.state.is_terminal and job.fence > (1 if job.state is JobState.SUCCEEDED else 0)


def sweep_batch(store: ReadSide, objects: ObjectStore, batch_id: str) -> list[str]:
    """Remove what tries of a batch's jobs left that did not end in their picture, and return the keys.

    One listing of the batch. Raises NotFound for a batch that is forgotten, StoreUnavailable or StorageUnavailable.
    """
    lying = _by_row(objects.list(f"{batch_id}/"))
    store.batch(batch_id)
    stray = [key for job in all_jobs(store, batch_id) for key in _left_by(job, lying.get(job.row, ()))]
    for key in stray:
        objects.delete(key)
    return stray


def _by_row(found: Iterable[ObjectInfo]) -> dict[int, list[str]]:
    rows: dict[int, list[str]] = defaultdict(list)
    for info in found:
        if picture := parsed(info.key):
            rows[picture.row].append(info.key)
    return rows


def _left_by(job: Job, keys: Iterable[str]) -> Iterator[str]:
    is_spoiled = job.state is JobState.SUCCEEDED and not job.image_key  # then its picture may be any of them
    if job.state.is_terminal and not is_spoiled:
        yield from (key for key in keys if key != job.image_key)
