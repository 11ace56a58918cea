"""Pictures to draw from: taken out of a form, stored for an owner, found again by it; for routes, pages, fronts."""

from __future__ import annotations

from anyio import to_thread
from PIL.Image import Image
from starlette.datastructures import UploadFile

from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm.picture_sources import PictureSources
from sigmafarm_common.picture_inputs import sha256_of
from sigmafarm_common.records import Upload
from sigmafarm_common.store import refusals
from sigmafarm_common.uploads.storing import Stored


async def store_file(site: Site, owner: str, file: UploadFile) -> Stored:
    """Store the picture in a form's file. Raises InvalidPicture, TooLarge, QuotaExceeded, StorageUnavailable."""
    data = await file.read()
    return await to_thread.run_sync(store_picture, site, owner, data, limiter=site.picture_threads)


def store_picture(site: Site, owner: str, picture: bytes | Image) -> Stored:
    """Store the bytes of a file, or a picture of Pillow, for an owner, within its bytes. Call it in one of the site's
    picture_threads: decoding takes memory. Raises InvalidPicture, TooLarge, QuotaExceeded, StoreUnavailable,
    StorageUnavailable."""
    sources = PictureSources(site.store, lambda: site.farm.objects, owner, max_bytes=site.config.max_upload_bytes)
    return sources.upload(picture)


def image_of(site: Site, caller: Caller, image_id: str) -> Upload:
    """Return a picture of the caller's owner. Raises NotFound for one of another too."""
    return site.store.upload(caller.owner, _sha256(image_id))


def _sha256(image_id: str) -> str:
    sha256 = sha256_of(image_id)
    if sha256 is None:
        raise refusals.no_upload(image_id)
    return sha256
