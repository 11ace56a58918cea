"""From what people say of a picture to an upload: names are looked up, files and bytes are stored first.

One PictureSources for a submission: each file is read and stored once, however many rows name it. Also says what a row
leaves out that follows from its picture: the size of the job.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmafarm_common.errors import (
    FieldError,
    InvalidPicture,
    InvalidRequest,
    NotFound,
    TooLarge,
)
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.picture_inputs import Fit, is_picture_name, job_of, sha256_of
from sigmafarm_common.records import Upload
from sigmafarm_common.settings import PICTURE_FIELDS
from sigmafarm_common.store import refusals
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.uploads.sizes import Size, size_for
from sigmafarm_common.validation import shown

if TYPE_CHECKING:
    from PIL.Image import Image

    from sigmafarm_common.uploads.reading import ReadPicture
    from sigmafarm_common.uploads.storing import Stored


class PictureSources:
    """The pictures of one owner's submission."""

    def __init__(
        self,
        store: Store,
        objects: Callable[[], ObjectStore],
        owner: str,
        *,
        can_read_files: bool = False,
        max_bytes: int = 0,
        can_store: bool = True,
    ):
        """Paths are read only where `can_read_files` says that whoever names them may read this machine's files.

        Without `can_store` all is read and checked, and nothing is written: a plan asks."""
        self._store, self._objects, self._owner = store, objects, owner
        self._can_read_files, self._max_bytes, self._can_store = can_read_files, max_bytes, can_store
        #: What was found already, by name or path, and by the SHA-256 of a file's bytes.
        self._known: dict[str, Upload] = {}
        self._by_content: dict[str, Upload] = {}

    def upload(self, source: str | os.PathLike[str] | bytes | Image) -> Stored:
        """Store a picture. Raises InvalidPicture, TooLarge, QuotaExceeded, StoreUnavailable, StorageUnavailable."""
        from sigmafarm_common.uploads.storing import store_picture  # Pillow takes a while: only when asked

        picture = _read(source)
        return store_picture(self._store, self._objects(), self._owner, picture, max_bytes=self._max_bytes)

    def named(self, field: str, value: Any) -> Upload:
        """Return the upload that a setting names; a file is stored first. Raises InvalidRequest with the cure."""
        upload = self._named(field, value)
        self._known.setdefault(upload.name, upload)  # rows may say by its name what the batch said as a file
        return upload

    def _named(self, field: str, value: Any) -> Upload:
        if isinstance(value, str) and is_picture_name(value):
            return self._remember(value, lambda: self._find(field, value))
        if not self._can_read_files:
            cure = "must be sha256:... as POST /v1/images answers, or job: and the id of a job that is drawn"
            raise _bad(field, value, cure)
        try:
            return self._stored(value)
        except (InvalidPicture, TooLarge) as error:
            raise _bad(field, value if isinstance(value, str | Path) else "a picture", str(error)) from None

    def filled(self, said: dict[str, Any], batch: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a row says, its pictures by the names of uploads and its size where it follows from them.

        `batch` is what is said for all rows, `known` all that holds where a row says nothing. Raises InvalidRequest.
        """
        values = {field: said.get(field, known.get(field)) for field in PICTURE_FIELDS}
        found = self._found({field: value for field, value in values.items() if value is not None})
        if not found:
            return said
        uploads = {field: upload.name for field, upload in found.items()}
        _check_pair(found)
        return {**said, **uploads, **_size(found["init_image"], said, batch, known)}

    def _found(self, values: Mapping[str, Any]) -> dict[str, Upload]:
        found, bad = dict[str, Upload](), list[FieldError]()
        for field, value in values.items():
            try:
                found[field] = self.named(field, value)
            except InvalidRequest as error:
                bad += error.fields
        if bad:
            raise InvalidRequest(bad)
        return found

    def _stored(self, value: Any) -> Upload:
        """Return the upload of a path, bytes or a picture."""
        if isinstance(value, bytes):
            return self._of_bytes(value)
        if isinstance(value, str | os.PathLike):
            path = os.fspath(value)
            return self._remember(path, lambda: self._of_bytes(read_file(path)))
        return self._upload(value)

    def _of_bytes(self, data: bytes) -> Upload:
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._by_content:
            self._by_content[digest] = self._upload(data)
        return self._by_content[digest]

    def _upload(self, source: Any) -> Upload:
        from sigmafarm_common.uploads.storing import upload_of

        return self.upload(source).upload if self._can_store else upload_of(self._owner, _read(source))

    def _remember(self, name: str, find: Callable[[], Upload]) -> Upload:
        if name not in self._known:
            self._known[name] = find()
        return self._known[name]

    def _find(self, field: str, name: str) -> Upload:
        if sha256 := sha256_of(name):
            upload = self._look_up(sha256)
            if upload is None:
                raise refusals.upload_gone(field, sha256)
            return upload
        return self._link(field, name, job_of(name) or "")

    def _look_up(self, sha256: str) -> Upload | None:
        """Return an upload, whose time to be kept begins anew if anything is to be drawn from it."""
        if self._can_store:
            return self._store.touch_upload(self._owner, sha256)
        try:
            return self._store.upload(self._owner, sha256)
        except NotFound:
            return None

    def _link(self, field: str, name: str, job_id: str) -> Upload:
        from sigmafarm_common.uploads.storing import link_of, link_picture

        try:
            job = self._store.job(job_id)
        except NotFound:
            raise _bad(field, name, "there is no such job; `sigmafarm jobs BATCH` lists them") from None
        if job.owner != self._owner:
            raise _bad(field, name, "there is no such job; `sigmafarm jobs BATCH` lists them")
        try:
            if not self._can_store:
                return link_of(self._objects(), self._owner, job)
            return link_picture(self._store, self._objects(), self._owner, job)
        except InvalidPicture as error:
            raise _bad(field, name, str(error)) from None


def read_file(path: str) -> bytes:
    """Return the bytes of a picture's file. Raises InvalidPicture where it cannot be read, TooLarge."""
    from sigmafarm_common.uploads.reading import MAX_FILE_BYTES

    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        said = getattr(error, "strerror", None) or str(error)
        raise InvalidPicture(f"{path} cannot be read: {said}; check the path") from None
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"{path} has more than {MAX_FILE_BYTES} bytes: save it smaller")
    return data


def _read(source: Any) -> ReadPicture:
    from sigmafarm_common.uploads import reading

    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        try:
            return reading.read_picture(read_file(path))
        except InvalidPicture as error:
            said = str(error)
            raise InvalidPicture(said if path in said else f"{path}: {said}") from None
    if isinstance(source, bytes | bytearray | memoryview):
        return reading.read_picture(bytes(source))
    return reading.read_image(source)


def _check_pair(found: Mapping[str, Upload]) -> None:
    """Raise InvalidRequest for a mask without a picture, or of another size than it."""
    picture, mask = found.get("init_image"), found.get("mask_image")
    if picture is None:
        said = "mask_image comes without init_image: it says where a given picture is drawn anew; name both"
        raise InvalidRequest([FieldError("mask_image", said)])
    if mask is not None and (mask.width, mask.height) != (picture.width, picture.height):
        sizes = f"mask_image has {mask.width} x {mask.height} pixels, init_image {picture.width} x {picture.height}"
        raise InvalidRequest([FieldError("mask_image", f"{sizes}: send a mask of the picture's size")])


def _size(
    picture: Upload, said: Mapping[str, Any], batch: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, int]:
    """Return the sides of a job that begins with a picture; none where what is said of them is no number."""
    try:
        width, height = (_whole(said.get(side, batch.get(side))) for side in ("width", "height"))
        native = Size(_whole(known.get("width")) or 512, _whole(known.get("height")) or 512)
    except (TypeError, ValueError):
        return {}  # whoever checks the settings says what is wrong with them
    is_strict = said.get("fit", known.get("fit")) == Fit.STRICT
    own = Size(picture.width, picture.height)
    size = size_for(own, native, width=width, height=height, fit=Fit.STRICT if is_strict else None)
    if is_strict and size != own:
        sizes = f"init_image has {own.width} x {own.height} pixels, and the job {size.width} x {size.height}"
        raise InvalidRequest([FieldError("init_image", f"{sizes}: fit is strict; say crop, or send one of that size")])
    return {"width": size.width, "height": size.height}


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _bad(field: str, value: Any, cure: str) -> InvalidRequest:
    return InvalidRequest([FieldError(field, f"{field} is {shown(value)}: {cure}")])
