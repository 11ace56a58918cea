"""Stores pictures: each content once for an owner, whole before its record says that it is there.

The object is put first, under a key that no other upload has, then the record is kept; who comes second to the record
removes what it put. So a record never names an object that somebody else removes, whatever happens between two steps.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from sigmafarm_common.errors import InvalidPicture, NotFound, QuotaExceeded, SpoiledRecord
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.records import Job, Upload
from sigmafarm_common.states import JobState
from sigmafarm_common.store.ids import new_token
from sigmafarm_common.store.protocol import UploadSide
from sigmafarm_common.uploads.reading import ReadPicture

#: What keys of uploads begin with: no batch has such an id.
PREFIX = "uploads/"
#: The form of such a key: the owner's name as a hash, the picture's SHA-256, what no other upload has.
UPLOAD_KEY = re.compile(r"uploads/[0-9a-f]{16}/([0-9a-f]{64})-[0-9a-f]{8}\.png")


class Stored(NamedTuple):
    """An upload, and whether it was not there before."""

    upload: Upload
    is_new: bool


def store_picture(
    store: UploadSide, objects: ObjectStore, owner: str, picture: ReadPicture, *, max_bytes: int = 0
) -> Stored:
    """Store a picture for an owner, if it is not stored already; then its time begins anew.

    Raises QuotaExceeded, StoreUnavailable, StorageUnavailable.
    """
    sha256 = hashlib.sha256(picture.png).hexdigest()
    known = store.touch_upload(owner, sha256)
    if known is not None:
        if not known.is_linked:
            _put_if_lost(objects, known.key, picture.png)
        return Stored(known, is_new=False)
    key = upload_key(owner, sha256)
    objects.put(key, picture.png, "image/png")
    try:
        counts = store.note_upload(upload_of(owner, picture, key), max_bytes=max_bytes)
    except QuotaExceeded:  # after any other error the record may be there, and its answer lost
        objects.delete(key)
        raise
    if counts.key != key:
        objects.delete(key)
    return Stored(counts, is_new=counts.key == key)


def upload_of(owner: str, picture: ReadPicture, key: str = "") -> Upload:
    """Return the record of a picture; without a key, of one that is not stored."""
    return Upload(
        sha256=hashlib.sha256(picture.png).hexdigest(),
        owner=owner,
        key=key,
        size_bytes=len(picture.png),
        width=picture.width,
        height=picture.height,
    )


def link_picture(store: UploadSide, objects: ObjectStore, owner: str, job: Job) -> Upload:
    """Make a job's picture one to draw from, where it lies. Raises InvalidPicture for a job without one."""
    linked = link_of(objects, owner, job)
    return store.touch_upload(owner, job.sha256) or store.note_upload(linked)


def link_of(objects: ObjectStore, owner: str, job: Job) -> Upload:
    """Return the record that a job's picture would have. Raises InvalidPicture for a job without one."""
    if job.state is not JobState.SUCCEEDED or not job.image_key:
        cure = "wait until it is drawn" if not job.state.is_terminal else "retry it, or name another"
        raise InvalidPicture(f"job {job.id} has no picture, it is {job.state}: {cure}")
    try:
        objects.stat(job.image_key)
    except NotFound:
        raise InvalidPicture(f"the picture of job {job.id} is not stored any more: submit its prompt again") from None
    return Upload(
        sha256=job.sha256,
        owner=owner,
        key=job.image_key,
        size_bytes=job.size_bytes,
        width=job.request.width or 0,
        height=job.request.height or 0,
        is_linked=True,
    )


def upload_key(owner: str, sha256: str) -> str:
    """Return a new key for an owner's picture."""
    whose = hashlib.blake2b(owner.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return f"{PREFIX}{whose}/{sha256}-{new_token()}.png"


def _put_if_lost(objects: ObjectStore, key: str, png: bytes) -> None:
    """Put the bytes again that a record names, if a hand removed them or cut them off. Raises SpoiledRecord."""
    if not UPLOAD_KEY.fullmatch(key):
        said = f"the record of an uploaded picture names the object {key[:80]!r}, which is none of its kind"
        raise SpoiledRecord(f"{said}: it was changed from outside; `sigmafarm check` names it")
    try:
        is_whole = objects.stat(key).size_bytes == len(png)
    except NotFound:
        is_whole = False
    if not is_whole:
        objects.put(key, png, "image/png")
