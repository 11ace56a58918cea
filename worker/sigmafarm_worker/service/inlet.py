"""The way in of a worker: the pictures that jobs begin with come out of the object store, fitted to their job.

A store that does not answer is no verdict about a job: the inlet waits as the outlet does, and closes it. What is not
there any more, or is not what was submitted, is: then no other try would find it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import InvalidInput, NotFound, PictureGone
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.picture_inputs import sha256_of, upload_name
from sigmafarm_common.records import Upload
from sigmafarm_common.store.protocol import WorkerSide
from sigmafarm_common.store.values import Source
from sigmafarm_common.uploads.fitting import init_picture, mask_picture
from sigmafarm_common.uploads.reading import decode
from sigmafarm_common.uploads.sizes import Size
from sigmafarm_worker.service.desk import GivenPictures, HeldJob
from sigmafarm_worker.service.outlet import Outlet
from sigmafarm_worker.service.patience import patiently
from sigmafarm_worker.service.picture_cache import PictureCache

#: Bytes of fitted pictures that are kept for the next jobs: 160 of 512 x 512.
KEPT_BYTES = 128 << 20

Fitting = Callable[[Image.Image, Size], Image.Image]


class Inlet:
    """Gives held jobs their pictures. Safe for threads."""

    def __init__(self, store: WorkerSide, objects: ObjectStore, outlet: Outlet, clock: Clock):
        self._store, self._objects, self._outlet, self._clock = store, objects, outlet, clock
        self._cache = PictureCache(KEPT_BYTES)

    def pictures_of(self, held: HeldJob) -> GivenPictures:
        """Return what a job begins with, uint8 [H, W, 3] and [H, W] of its size; None for what it does not name.

        Not to be written to. Raises PictureGone; Dropped (Undelivered) as soon as the job is to be let go, or once the
        object store was away for too long; FarmUnavailable.
        """
        request = held.claim.request
        return GivenPictures(
            self._fitted(held, request.init_image, init_picture), self._fitted(held, request.mask_image, mask_picture)
        )

    def picture_from(self, held: HeldJob, source: Source) -> bytes | None:
        """Return the file of the job whose picture a held one may take; None where it is not there any more, or is not
        what was stored. Raises Dropped and FarmUnavailable as `pictures_of` does."""
        data = self._outlet.fetch(held, lambda: self._bytes_at(source.image_key))
        return data if data is not None and hashlib.sha256(data).hexdigest() == source.sha256 else None

    def _fitted(self, held: HeldJob, name: str | None, fitting: Fitting) -> NDArray[np.uint8] | None:
        if name is None:
            return None
        request = held.claim.request
        key = (name, fitting is mask_picture, request.width or 0, request.height or 0)
        kept = self._cache.get(key)
        if kept is None:
            image = self._decoded(held, name)
            size = Size(request.width or image.width, request.height or image.height)
            kept = np.array(fitting(image, size), np.uint8)
            self._cache.put(key, kept)
        return kept

    def _decoded(self, held: HeldJob, name: str) -> Image.Image:
        sha256 = sha256_of(name) or ""
        upload = self._find(held, sha256)
        data = self._outlet.fetch(held, lambda: self._bytes_at(upload.key))
        if data is None:
            raise _gone(sha256, f"is not in the object store any more ({upload.key})")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _gone(sha256, f"was changed where it is stored ({upload.key}; remove that object)")
        try:
            return decode(data)
        except InvalidInput as error:
            raise _gone(sha256, f"cannot be decoded ({error})") from None

    def _find(self, held: HeldJob, sha256: str) -> Upload:
        try:
            return patiently(lambda: self._store.upload_of(held.claim.batch_id, sha256), self._clock)
        except NotFound:
            raise _gone(sha256, "has no record any more") from None

    def _bytes_at(self, key: str) -> bytes | None:
        """Return an object; None where there is none: that is an answer, and nothing to wait for."""
        try:
            return self._objects.get(key)
        except (NotFound, InvalidInput):
            return None


def _gone(sha256: str, what: str) -> PictureGone:
    return PictureGone(f"picture {upload_name(sha256)} {what}: upload it again, then retry the job")
