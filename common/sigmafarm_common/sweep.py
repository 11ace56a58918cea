"""Removes pictures that nobody's record names: those of a worker that died between the upload and the finish.

Safe at any time. It looks only at jobs in a terminal state, and removes only keys of the tries that the record has
counted: a finish of theirs would be refused, and a retry draws under a fence, and so a key, of its own.
"""

from __future__ import annotations

import re

from sigmafarm_common.job import Job
from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store

_FENCE_IN_KEY = re.compile(r"-f(\d+)\.\w+$")


def sweep_batch(store: Store, objects: ObjectStore, batch_id: str) -> list[str]:
    """Remove what lost tries of a batch's jobs left, and return the keys. One listing for each job that may have left
    something; a job whose first try succeeded costs none. Raises NotFound, StoreUnavailable or StorageUnavailable."""
    stray = [key for job in all_jobs(store, batch_id) if may_have_left(job) for key in _left_by(job, objects)]
    for key in stray:
        objects.delete(key)
    return stray


def may_have_left(job: Job) -> bool:
    """Whether a job is over and had a try that did not end in its picture."""
    return job.state.is_terminal and job.fence > (1 if job.state is JobState.SUCCEEDED else 0)


def _left_by(job: Job, objects: ObjectStore) -> list[str]:
    keys = [found.key for found in objects.list(f"{job.batch_id}/{job.row:06d}-f")]
    return [key for key in keys if key != job.image_key and _fence(key) <= job.fence]


def _fence(key: str) -> float:
    found = _FENCE_IN_KEY.search(key)
    return int(found.group(1)) if found else float("inf")
