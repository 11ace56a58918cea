"""Makes the records of batches anew, from their manifest and from what their pictures say about themselves.

For a Redis that was restored from a backup, or lost: the pictures of batches that were accepted later lie in the object
store, and no record names them. What a manifest says of a job holds (its settings, its end); a picture that is newer
than it, or lies where there is no manifest, speaks for itself. No picture is changed or removed. What nothing tells of,
a row between two pictures, becomes a failed job that says so.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sigmafarm_common.check.reader import Reader
from sigmafarm_common.config import Config
from sigmafarm_common.errors import Conflict, InvalidRequest, NotFound
from sigmafarm_common.manifest import manifest_key, request_in
from sigmafarm_common.objects.protocol import ObjectInfo, ObjectStore
from sigmafarm_common.picture_keys import parsed
from sigmafarm_common.picture_text import is_whole, read_parameters, read_text
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.ids import is_batch_id, job_id, time_ms_of
from sigmafarm_common.store.redis.adopting import Adopted
from sigmafarm_common.store.redis_store import RedisStore

#: The name of an adopted batch: nothing tells its own.
NAME = "adopted"
#: The model of a row of which nothing tells.
UNKNOWN_MODEL = "unknown"


@dataclass(frozen=True)
class Adoptable:
    """A batch that lies in the object store and has no records."""

    batch_id: str
    #: Rows that the manifest or a picture tells of; later ones may be missing where there is no manifest.
    num_rows: int
    num_pictures: int
    has_manifest: bool
    #: Whether its records may have been forgotten in order: it is older than they are kept.
    is_old: bool


@dataclass(frozen=True)
class Remains:
    """What lies under a batch's prefix."""

    batch_id: str
    manifest: Mapping[int, Mapping[str, Any]]
    #: When the manifest was written, 0 without one.
    manifest_ms: int
    pictures: Mapping[int, tuple[ObjectInfo, ...]]

    @property
    def num_rows(self) -> int:
        return max([*self.manifest, *self.pictures], default=-1) + 1


def find_adoptable(config: Config, store: RedisStore, objects: ObjectStore) -> list[Adoptable]:
    """Return the batches that lie in the object store and have no records. Only reads.

    Raises StoreUnavailable, StorageUnavailable or AccessDenied.
    """
    reader = Reader(store.redis)
    newest: dict[str, int] = {}
    for found in objects.list():
        prefix, slash, _ = found.key.partition("/")
        if slash and is_batch_id(prefix):
            newest[prefix] = max(newest.get(prefix, 0), found.modified_ms)
    # The records are read after the objects: a batch that was accepted meanwhile has some.
    forgotten_ms = reader.now_ms() - config.retention_s * 1000 if config.retention_s else 0
    lost = [batch_id for batch_id in sorted(newest) if _has_no_records(reader, batch_id)]
    return [_adoptable(remains_of(objects, b), is_old=newest[b] < forgotten_ms) for b in lost]


def adopt(store: RedisStore, objects: ObjectStore, batch_id: str, *, owner: str) -> None:
    """Make the records of a batch anew. Raises NotFound where nothing of it lies, Conflict if it has records."""
    remains = remains_of(objects, batch_id) if is_batch_id(batch_id) else None
    if remains is None or not remains.num_rows:
        raise NotFound(
            f"nothing of a batch {batch_id[:80]!r} lies in the object store: `sigmafarm adopt` lists what does"
        )
    jobs = adopted_jobs(objects, remains)
    store.adopt(batch_id, jobs, owner=owner, name=NAME, submitted_ms=time_ms_of(batch_id))
    for row, record in remains.manifest.items():
        with suppress(Conflict, NotFound, InvalidRequest):  # its picture is gone, or a hand wrote what is no rating
            if record.get("rating"):
                store.rate_job(job_id(batch_id, row), record["rating"])


def remains_of(objects: ObjectStore, batch_id: str) -> Remains:
    """Return what lies under a batch's prefix."""
    pictures: dict[int, list[ObjectInfo]] = defaultdict(list)
    manifest_ms = 0
    for found in objects.list(f"{batch_id}/"):
        picture = parsed(found.key)
        if picture is not None:
            pictures[picture.row].append(found)
        elif found.key == manifest_key(batch_id):
            manifest_ms = found.modified_ms
    manifest = dict(_manifest_rows(objects.stream(manifest_key(batch_id)))) if manifest_ms else {}
    return Remains(batch_id, manifest, manifest_ms, {row: tuple(found) for row, found in pictures.items()})


def adopted_jobs(objects: ObjectStore, remains: Remains) -> Iterator[Adopted]:
    """Yield a job for every row, in order, reading one picture at a time."""
    models = (str(row.get("settings", {}).get("model", "")) for row in remains.manifest.values())
    model = next(filter(None, models), UNKNOWN_MODEL)
    for row in range(remains.num_rows):
        job = _job(objects, remains.manifest.get(row), remains.manifest_ms, remains.pictures.get(row, ()), model)
        model = job.request.model or model
        yield job


def _has_no_records(reader: Reader, batch_id: str) -> bool:
    return reader.batch(batch_id).fields.get("phase", "adopting") == "adopting"


def _adoptable(remains: Remains, *, is_old: bool) -> Adoptable:
    return Adoptable(
        batch_id=remains.batch_id,
        num_rows=remains.num_rows,
        num_pictures=len(remains.pictures),
        has_manifest=remains.manifest_ms > 0,
        is_old=is_old,
    )


def _manifest_rows(pieces: Iterable[bytes]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line in b"".join(pieces).splitlines():
        try:
            record = json.loads(line)
            yield int(record["row"]), record
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut or changed by hand: its picture speaks for it


def _job(
    objects: ObjectStore,
    record: Mapping[str, Any] | None,
    manifest_ms: int,
    pictures: tuple[ObjectInfo, ...],
    model: str,
) -> Adopted:
    """Return the job of a row: its picture, if it has one that counts, else its end."""
    said = str(record["state"]) if record and "state" in record else ""
    may_count = [p for p in pictures if said in ("", JobState.SUCCEEDED) or p.modified_ms > manifest_ms]
    for found in sorted(may_count, key=lambda p: (p.key == (record or {}).get("key"), *_order(p)), reverse=True):
        if job := _with_picture(objects, found, record, model):
            return job
    fence = max((_order(p)[0] for p in pictures), default=0)
    request = _request(request_in(record or {}), model)
    if said == JobState.CANCELLED and request:
        return Adopted(JobState.CANCELLED, request, number=fence)
    if request is None:
        lost = "its record was lost, and nothing tells what it asked for: submit its prompt again"
        blank = RenderRequest(prompt="").resolved({"model": model})
        return Adopted(JobState.FAILED, blank, number=fence, error_code="record_lost", error=lost)
    if said == JobState.FAILED:
        error = str((record or {}).get("error") or "it failed before its record was lost")
        return Adopted(JobState.FAILED, request, number=fence, error_code="failed_before", error=error)
    gone = "its picture is gone or damaged: `sigmafarm retry` draws it again, the same seed gives the same picture"
    return Adopted(JobState.FAILED, request, number=fence, error_code="picture_lost", error=gone)


def _with_picture(
    objects: ObjectStore, found: ObjectInfo, record: Mapping[str, Any] | None, model: str
) -> Adopted | None:
    """Return a succeeded job if an object is its picture, whole and as the manifest recorded it."""
    place = parsed(found.key)
    try:
        data = objects.get(found.key)
    except NotFound:
        return None
    sha256 = hashlib.sha256(data).hexdigest()
    is_recorded = record is not None and record.get("key") == found.key
    if (
        place is None
        or place.number < 1
        or (record["sha256"] != sha256 if is_recorded and record else not is_whole(data))
    ):
        return None
    request = _request(request_in(record or {}), model) or _request(_embedded(data), model)
    if request is None:
        return None
    return Adopted(JobState.SUCCEEDED, request, found.key, place.number, place.token, sha256, len(data))


def _order(found: ObjectInfo) -> tuple[int, int]:
    place = parsed(found.key)
    return (place.number if place else 0, found.modified_ms)


def _embedded(data: bytes) -> Mapping[str, Any]:
    """Return the settings that a picture tells: the exact ones, else those of its text."""
    try:
        found = read_parameters(data)
        return {k: v for k, v in found.settings.items() if k != "is_cut"} or read_text(found.parameters)
    except (OSError, ValueError, SyntaxError):
        return {}


def _request(settings: Any, model: str) -> RenderRequest | None:
    """Return a request of settings that were written down; None where they are none."""
    try:
        return RenderRequest.parse(settings).resolved({"model": model}) if settings else None
    except (InvalidRequest, TypeError, ValueError):
        return None
