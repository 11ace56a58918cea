"""Finds what was left lying about a whole farm, for an operator to remove: objects without a record, entries of indexes
whose job does not belong there.

`sweep.py` cleans up after each batch by itself; this is for what a crash at a bad moment, a restored backup or a hand
left. Nothing that is young is found, and what is found can never become wanted again: no later claim gets a fence, and
so a key, that was given before. An entry is judged once more by the script that removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sigmafarm_common.check.farm_rules import is_stale
from sigmafarm_common.check.reader import Reader
from sigmafarm_common.check.seen import Entry
from sigmafarm_common.check.strays import (
    OLDER_THAN_S,
    old_partials,
    strange_places,
    stray_uploads,
    strays_of_batch,
    strays_without_batch,
)
from sigmafarm_common.check.upload_reader import UploadReader
from sigmafarm_common.errors import Conflict
from sigmafarm_common.objects.protocol import ObjectInfo, ObjectStore
from sigmafarm_common.store.redis_store import RedisStore

#: Told how many batches are done, of how many.
OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class Leftovers:
    """What may be removed."""

    objects: tuple[ObjectInfo, ...]
    entries: tuple[Entry, ...]
    #: Of the objects, those whose batch has no record at all.
    num_without_batch: int
    #: How many accepted batches the store knows.
    num_batches: int
    #: What killed writers left half written in a folder: no objects.
    partials: tuple[ObjectInfo, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.objects and not self.entries and not self.partials


def find_leftovers(
    store: RedisStore,
    objects: ObjectStore,
    *,
    older_than_s: float = OLDER_THAN_S,
    on_batch: OnBatch | None = None,
) -> Leftovers:
    """Return what lies about for longer than older_than_s. Only reads.

    Raises StoreUnavailable, StorageUnavailable or AccessDenied.
    """
    reader = Reader(store.redis)
    layout = reader.layout()
    oldest_ms = reader.now_ms() - older_than_s * 1000
    num_batches, of_batches = 0, list[ObjectInfo]()
    for number, batch_id in enumerate(layout.batch_ids, start=1):
        batch = reader.batch(batch_id)
        if batch.is_sealed:
            num_batches += 1
            of_batches += strays_of_batch(objects, reader, batch, layout)
        if on_batch is not None:
            on_batch(number, len(layout.batch_ids))
    prefixes, probes = strange_places(objects, set(layout.batch_ids))
    uploads = stray_uploads(objects, UploadReader(store.redis))
    strange = [*strays_without_batch(objects, reader, sorted(prefixes)), *probes, *uploads]
    old = [[o for o in part if o.modified_ms <= oldest_ms] for part in (of_batches, strange)]
    entries = [entry for entry in reader.farm(layout).entries if is_stale(entry)]
    stale = tuple(e for e in entries if store.drop_entry(*_named(e), older_than_s=older_than_s, dry_run=True))
    partials = tuple(old_partials(objects, oldest_ms))
    return Leftovers((*old[0], *old[1]), stale, len(old[1]), num_batches, partials)


def remove_leftovers(
    store: RedisStore, objects: ObjectStore, found: Leftovers, *, older_than_s: float = OLDER_THAN_S
) -> Iterator[ObjectInfo | Entry]:
    """Remove what was found, and yield each thing as it goes.

    Raises Conflict where the store knows no batch and pictures lie there: then it is most likely the wrong store.
    """
    if not found.num_batches and found.num_without_batch:
        raise Conflict(
            f"these records hold no batch at all, and {found.num_without_batch} objects lie in the object store: check "
            "that SIGMAFARM_REDIS_URL and SIGMAFARM_NAMESPACE name this farm; remove the objects by hand if they do"
        )
    for entry in found.entries:
        if store.drop_entry(*_named(entry), older_than_s=older_than_s):
            yield entry
    for stray in found.objects:
        objects.delete(stray.key)
        yield stray
    for partial in found.partials:
        objects.delete_partial(partial.key)
        yield partial


def _named(entry: Entry) -> tuple[str, str, str]:
    return entry.place, entry.name, entry.job_id
