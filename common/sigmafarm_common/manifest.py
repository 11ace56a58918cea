"""A batch's manifest: one JSON line a job, beside its pictures, so that a folder explains itself without Redis.

{"row": 17, "job": "...", "key": "<batch>/000017-f1-9c0b41de.png", "sha256": "...", "settings": {"prompt": ...},
 "state": "succeeded", "error": "", "fingerprint": "0f3c9a71d2e4", "warnings": [{"code": ..., "text": ...}]}

The fingerprint is that of the model which drew the picture: a later drawing equals this one only under the same. It is
left out where it is not known, warnings where there are none, and `rating` (1 to 5) where nobody rated the picture: a
later rating writes the manifest anew. `reused_from` names the equal job whose picture this one took; `columns` are the
submitter's own, `line` is the job's line of the prompt file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.settings import SUBMITTERS_OWN
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide

#: The manifest's name beside the pictures.
MANIFEST_NAME = "manifest.jsonl"
#: Jobs that are read at once.
PAGE_JOBS = 500
#: A manifest below this stays in memory while it is written.
SPOOL_BYTES = 4 << 20


def write_manifest(store: ReadSide, objects: ObjectStore, batch_id: str) -> Batch:
    """Put the manifest of a batch beside its pictures, and return the batch as it was before the first line was read.

    Holds one page of jobs in memory at a time. Raises NotFound, StoreUnavailable or StorageUnavailable; writing again
    replaces the manifest whole.
    """
    batch = store.batch(batch_id)
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
        for job in all_jobs(store, batch_id):
            file.write(manifest_line(job, job.image_key).encode())
        file.seek(0)
        objects.put(manifest_key(batch_id), file, "application/x-ndjson")  # pyright: ignore[reportArgumentType]
    return batch


def manifest_key(batch_id: str) -> str:
    """Return where a batch's manifest lies."""
    return f"{batch_id}/{MANIFEST_NAME}"


def manifest_line(job: Job, key: str) -> str:
    """Return a job's line, with its line end; `key` is where its picture lies, empty if there is none."""
    said = job.request.said()
    record: dict[str, Any] = {
        "row": job.row,
        "job": job.id,
        "key": key,
        "sha256": job.sha256,
        "settings": {name: value for name, value in said.items() if name not in SUBMITTERS_OWN},
        "state": job.state,
        "error": job.error,
    }
    record |= {name: said[name] for name in SUBMITTERS_OWN if name in said}
    if job.fingerprint:
        record["fingerprint"] = job.fingerprint
    if job.reused_from:
        record["reused_from"] = job.reused_from
    if job.warnings:
        record["warnings"] = [each.model_dump() for each in job.warnings]
    if job.rating:
        record["rating"] = job.rating
    return json.dumps(record, ensure_ascii=False) + "\n"


def request_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a job asked for by its line, to be parsed as a request; empty where that says nothing."""
    settings = record.get("settings")
    if not settings or not isinstance(settings, Mapping):
        return {}
    return {**settings, **{name: record[name] for name in SUBMITTERS_OWN if name in record}}


def all_jobs(store: ReadSide, batch_id: str, *, state: JobState | None = None) -> Iterator[Job]:
    """Yield every job of a batch in row order, those of one state if one is named, a page at a time."""
    after_row = -1
    while page := store.jobs(batch_id, state=state, after_row=after_row, limit=PAGE_JOBS):
        yield from page
        after_row = page[-1].row
