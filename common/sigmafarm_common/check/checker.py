"""Puts the rules to a farm, living or stopped.

On a living farm things move while they are read. What looks wrong is therefore read again after a pause, and only what
is still wrong then, the same rule and the same subject, is reported.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sigmafarm_common.check.batch_rules import batch_violations
from sigmafarm_common.check.event_rules import EventJudge, undone
from sigmafarm_common.check.farm_rules import end_violations, farm_violations
from sigmafarm_common.check.job_rules import Limits, job_violations
from sigmafarm_common.check.picture_rules import (
    ADOPT,
    half_written,
    is_stray,
    object_violations,
    orphan,
    record_violations,
)
from sigmafarm_common.check.reader import PAGE_KEYS, Layout, Reader
from sigmafarm_common.check.seen import BatchSeen, JobSeen
from sigmafarm_common.check.shelf import Shelf
from sigmafarm_common.check.spoiled import (
    NUMBERS,
    RECORDS,
    WORKER,
    event_violations,
    key_violations,
    number_violations,
    record_faults,
)
from sigmafarm_common.check.strays import (
    OLDER_THAN_S,
    old_partials,
    strange_places,
    stray_uploads,
    strays_without_batch,
)
from sigmafarm_common.check.upload_reader import UploadReader, UploadSeen
from sigmafarm_common.check.upload_rules import stored_violations, upload_violations
from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidInput, NotFound
from sigmafarm_common.objects.protocol import ObjectInfo, ObjectStore
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis.keyspace import chunks
from sigmafarm_common.store.redis_store import RedisStore

#: Pause before the second look: longer than a round of the keeper and a worker's removal of a refused picture.
PAUSE_S = 2.0
#: Told how many batches are done, of how many.
OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What a check found, and how much it looked at."""

    violations: tuple[Violation, ...]
    num_batches: int
    num_jobs: int
    num_pictures: int

    @property
    def is_clean(self) -> bool:
        return not self.violations


def check_farm(
    config: Config,
    store: RedisStore,
    objects: ObjectStore | None,
    *,
    is_final: bool = False,
    is_deep: bool = False,
    pause_s: float | None = None,
    clock: Clock | None = None,
    on_batch: OnBatch | None = None,
) -> Report:
    """Look at the whole farm, then once more at what looked wrong, and report what was wrong both times.

    `is_final` says that the farm came to its end: then an open job is a violation, and so is an object that the next
    sweep would remove. `is_deep` reads every picture and compares its SHA-256. Without `objects`, pictures are left
    out. Only reads. Raises StoreUnavailable, StorageUnavailable or AccessDenied.
    """
    limits = Limits(config.max_attempts, config.max_losses, is_final=is_final)
    reader = Reader(store.redis)
    look = Look(reader, objects, limits, is_deep=is_deep, on_batch=on_batch)
    suspects = list(look.at_all())
    found: list[Violation] = []
    if suspects:
        (clock or SystemClock()).wait(threading.Event(), PAUSE_S if pause_s is None else pause_s)
        known = {v.identity for v in suspects}
        again = Look(reader, objects, limits, is_deep=is_deep)
        found = [v for v in again.at_batches({v.batch_id for v in suspects if v.batch_id}) if v.identity in known]
    order = list(Rule)
    found.sort(key=lambda v: (v.invariant, order.index(v.rule), v.subject))
    return Report(tuple(found), look.num_batches, look.num_jobs, look.num_pictures)


class Look:
    """One look at the farm, or at some of its batches, and always at what belongs to no batch."""

    def __init__(
        self,
        reader: Reader,
        objects: ObjectStore | None,
        limits: Limits,
        *,
        is_deep: bool = False,
        on_batch: OnBatch | None = None,
    ):
        self._reader, self._objects, self._limits = reader, objects, limits
        self._is_deep, self._on_batch = is_deep, on_batch
        self.num_batches = self.num_jobs = self.num_pictures = 0

    def at_all(self) -> Iterator[Violation]:
        """Look at everything."""
        layout = self._reader.layout()
        yield from self._at(layout.batch_ids, layout)
        if self._objects is not None:
            prefixes, probes = strange_places(self._objects, set(layout.batch_ids))
            yield from self._strays(prefixes, probes)
            yield from self._half_written(self._objects)

    def at_batches(self, batch_ids: set[str]) -> Iterator[Violation]:
        """Look at these batches, which may be no more than prefixes in the object store."""
        layout = self._reader.layout()
        yield from self._at(tuple(sorted(batch_ids)), layout)
        if self._objects is not None:
            probes = list(self._objects.list("check-"))
            yield from self._strays(batch_ids - set(layout.batch_ids), probes)
            yield from self._half_written(self._objects)

    def _at(self, batch_ids: tuple[str, ...], layout: Layout) -> Iterator[Violation]:
        for number, batch_id in enumerate(batch_ids, start=1):
            yield from self._batch(self._reader.batch(batch_id), layout)
            if self._on_batch is not None:
                self._on_batch(number, len(batch_ids))
        yield from self._spoiled()
        yield from self._uploads(layout)
        farm = self._reader.farm(layout)
        yield from farm_violations(farm)
        if self._limits.is_final:
            yield from end_violations(farm)
        yield from self._events()

    def _batch(self, batch: BatchSeen, layout: Layout) -> Iterator[Violation]:
        yield from batch_violations(batch)
        if not batch.is_sealed:
            return
        shelf = None if self._objects is None else Shelf(batch.id, self._objects.list(f"{batch.id}/"))
        is_swept = self._limits.is_final or (batch.is_over and not batch.is_due)
        for page in self._reader.jobs(batch, layout):
            for job in page:
                yield from job_violations(job, self._limits)
                yield from record_violations(job)
                if shelf is not None:
                    yield from self._pictures(job, shelf.take(job.row), is_swept=is_swept)
            self.num_jobs += len(page)
        self.num_batches += 1
        if shelf is not None:
            yield from _leftovers(batch, shelf)

    def _pictures(self, job: JobSeen, shown: list[ObjectInfo], *, is_swept: bool) -> Iterator[Violation]:
        key = job.fields.get("image_key", "") if job.state == JobState.SUCCEEDED else ""
        if key:
            # A job that finished after the listing is not in it.
            found = next((o for o in shown if o.key == key), None) or self._stat(key)
            yield from object_violations(job, found, self._sha256(key) if found and self._is_deep else None)
            self.num_pictures += 1
        if is_swept:
            yield from (orphan(o.key, job.batch_id, _why(job)) for o in shown if is_stray(job, o.key))

    def _stat(self, key: str) -> ObjectInfo | None:
        assert self._objects is not None
        try:
            return self._objects.stat(key)
        except (NotFound, InvalidInput):  # a record that was spoiled may say any key
            return None

    def _sha256(self, key: str) -> str | None:
        """Return the SHA-256 of an object's bytes, None if it is gone meanwhile."""
        assert self._objects is not None
        digest = hashlib.sha256()
        try:
            for piece in self._objects.stream(key):
                digest.update(piece)
        except NotFound:
            return None
        return digest.hexdigest()

    def _uploads(self, layout: Layout) -> Iterator[Violation]:
        reader = UploadReader(self._reader.redis)
        seen = reader.read(layout.batch_ids)
        yield from upload_violations(seen)
        if self._objects is not None:
            for upload in seen.uploads:
                if upload.key:
                    yield from self._stored(upload)
            oldest_ms = self._reader.now_ms() - OLDER_THAN_S * 1000
            strays = (found for found in stray_uploads(self._objects, reader) if found.modified_ms <= oldest_ms)
            yield from (orphan(found.key, "", "is a picture to draw from that no record names") for found in strays)

    def _stored(self, upload: UploadSeen) -> Iterator[Violation]:
        found = self._stat(upload.key)
        yield from stored_violations(upload, found, self._sha256(upload.key) if found and self._is_deep else None)

    def _spoiled(self) -> Iterator[Violation]:
        yield from key_violations(self._reader.types())
        yield from record_faults("worker", WORKER, self._reader.worker_records())
        for name, kind in RECORDS.items():
            yield from record_faults(name, kind, self._reader.fields(name))
        for name in NUMBERS:
            yield from number_violations(name, self._reader.fields(name))
        yield from event_violations(self._reader.events())

    def _events(self) -> Iterator[Violation]:
        judge = EventJudge()
        yield from judge.violations(self._reader.events())
        for jobs in chunks(list(judge.succeeded), PAGE_KEYS):
            yield from undone(self._reader.states(jobs))

    def _half_written(self, objects: ObjectStore) -> Iterator[Violation]:
        oldest_ms = self._reader.now_ms() - OLDER_THAN_S * 1000
        yield from (half_written(found.key) for found in old_partials(objects, oldest_ms))

    def _strays(self, prefixes: set[str], probes: list[ObjectInfo]) -> Iterator[Violation]:
        assert self._objects is not None
        for found in strays_without_batch(self._objects, self._reader, sorted(prefixes)):
            yield orphan(found.key, found.key.partition("/")[0], "belongs to no batch", cure=ADOPT)
        yield from (orphan(found.key, "", "is a probe that was never removed") for found in probes)


def _leftovers(batch: BatchSeen, shelf: Shelf) -> Iterator[Violation]:
    for found in shelf.left():
        yield orphan(found.key, batch.id, f"is of a row that batch {batch.id} does not have")
    for found in shelf.strange:
        yield orphan(found.key, batch.id, "has no name that the farm gives")
    if batch.is_over and not batch.is_due and not shelf.has_manifest:
        said = f"batch {batch.id} is over and concluded, and has no manifest: write one with write_manifest"
        yield Violation(Rule.MANIFEST_MISSING, batch.id, said, batch.id)


def _why(job: JobSeen) -> str:
    kept = job.fields.get("image_key", "")
    return f"is not the picture of job {job.id}, which is {job.state}" + (f" with {kept}" if kept else "")
