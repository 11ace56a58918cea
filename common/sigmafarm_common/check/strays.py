"""Finds objects in the farm's places that belong to no record. Keys of other forms are not ours, and are left alone."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from sigmafarm_common.check.picture_rules import PROBE_KEY, is_stray
from sigmafarm_common.check.reader import Layout, Reader
from sigmafarm_common.check.seen import BatchSeen
from sigmafarm_common.check.shelf import Shelf
from sigmafarm_common.check.upload_reader import UploadReader
from sigmafarm_common.manifest import manifest_key
from sigmafarm_common.objects.protocol import ObjectInfo, ObjectStore
from sigmafarm_common.picture_keys import parsed
from sigmafarm_common.store.ids import is_batch_id
from sigmafarm_common.uploads.storing import PREFIX, UPLOAD_KEY

#: What is younger than this is left alone: an hour, more than any picture's way to its record and any clock's error.
OLDER_THAN_S = 3600.0


def strange_places(objects: ObjectStore, known: Container[str]) -> tuple[set[str], list[ObjectInfo]]:
    """Return the prefixes that have the form of a batch, hold no manifest and are not known; and left-over probes.

    A folder with a manifest explains itself: its batch came to its end, and its record may have expired since.
    """
    strange, explained, probes = set[str](), set[str](), list[ObjectInfo]()
    for found in objects.list():
        prefix, _, name = found.key.partition("/")
        if not name and PROBE_KEY.fullmatch(found.key):
            probes.append(found)
        elif name and is_batch_id(prefix) and prefix not in known:
            strange.add(prefix)
            if found.key == manifest_key(prefix):
                explained.add(prefix)
    return strange - explained, probes


def old_partials(objects: ObjectStore, oldest_ms: float) -> list[ObjectInfo]:
    """Return what killed writers left half written, as far as no living one can still be at it."""
    return [found for found in objects.partials() if found.modified_ms <= oldest_ms]


def stray_uploads(objects: ObjectStore, reader: UploadReader) -> list[ObjectInfo]:
    """Return the objects among uploads that no record names: of any age, for a new one may yet get its record."""
    listed = [found for found in objects.list(PREFIX) if UPLOAD_KEY.fullmatch(found.key)]
    if not listed:
        return []
    known = reader.read(()).keys  # after the objects: what was recorded meanwhile is no stranger
    return [found for found in listed if found.key not in known]


def strays_without_batch(objects: ObjectStore, reader: Reader, prefixes: Iterable[str]) -> Iterator[ObjectInfo]:
    """Yield the objects of prefixes whose batch has no accepted record and no manifest."""
    for prefix in prefixes:
        listed = list(objects.list(f"{prefix}/"))
        is_explained = any(found.key == manifest_key(prefix) for found in listed)
        # The record is read after the objects: a batch that was accepted meanwhile is no stranger.
        if not is_explained and not reader.batch(prefix).is_sealed:
            yield from listed


def strays_of_batch(objects: ObjectStore, reader: Reader, batch: BatchSeen, layout: Layout) -> Iterator[ObjectInfo]:
    """Yield the pictures of a batch that are neither recorded nor of a try that runs, nor may come to be."""
    shelf = Shelf(batch.id, objects.list(f"{batch.id}/"))
    for page in reader.jobs(batch, layout):
        for job in page:
            for found in shelf.take(job.row):
                picture = parsed(found.key)
                if (
                    not job.fields
                ):  # its record is lost, or expires just now: the picture may be the last there is of it
                    continue
                # A fence that the record never gave: the record is older than the object, and not over yet.
                is_ahead = picture is not None and picture.number > job.number("fence") and not job.is_terminal
                if is_stray(job, found.key) and not is_ahead:
                    yield found
