"""A batch as a zip that is made while it is sent: pictures stored as they are, a manifest at the end.

Nothing is compressed twice, and a few pictures are held at a time, however large the batch is. What the object store
has lost, or holds with other bytes than were recorded, is left out and named in missing.txt.
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from tempfile import SpooledTemporaryFile

from sigmafarm.download import file_name
from sigmafarm_common.errors import NotFound
from sigmafarm_common.manifest import MANIFEST_NAME, manifest_line
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Job

#: The file that names what is left out.
MISSING_NAME = "missing.txt"
#: Pictures that are fetched ahead.
AHEAD = 4
#: A manifest below this stays in memory until it is sent; and what is copied at once.
SPOOL_BYTES, PIECE_BYTES = 1 << 20, 1 << 18


def zip_pictures(jobs: Iterable[Job], objects: ObjectStore) -> Iterator[bytes]:
    """Yield the pieces of a zip of the jobs' pictures, in row order, with their manifest.

    Raises StorageUnavailable in the midst of it when the object store goes away: the zip then has no end.
    """
    out = _Pieces()
    with (
        SpooledTemporaryFile[bytes](SPOOL_BYTES) as manifest,
        SpooledTemporaryFile[bytes](SPOOL_BYTES) as missing,
        zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive,
    ):
        for job, picture in _fetch_ahead(jobs, objects):
            name = file_name(job) if picture is not None else ""
            if picture is not None:
                archive.writestr(_entry(name, job.finished_ms), picture)
            elif job.image_key:
                missing.write(
                    f"row {job.row}: {job.image_key} is lost or damaged; retry the job to draw it again\n".encode()
                )
            manifest.write(manifest_line(job, name).encode("utf-8", "replace"))
            yield from out.take()
        for name, file in ((MANIFEST_NAME, manifest), (MISSING_NAME, missing)):
            if file.tell() or name == MANIFEST_NAME:
                for _ in _copy(archive, name, file):
                    yield from out.take()
    yield from out.take()


def _copy(archive: zipfile.ZipFile, name: str, file: SpooledTemporaryFile[bytes]) -> Iterator[None]:
    """Copy a file into the zip, a piece at a step."""
    file.seek(0)
    with archive.open(_entry(name), "w", force_zip64=True) as entry:
        while piece := file.read(PIECE_BYTES):
            entry.write(piece)
            yield


def _fetch_ahead(jobs: Iterable[Job], objects: ObjectStore) -> Iterator[tuple[Job, bytes | None]]:
    waiting: deque[tuple[Job, Future[bytes | None]]] = deque()
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="zip")
    try:
        for job in jobs:
            waiting.append((job, pool.submit(_picture, job, objects)))
            if len(waiting) > AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for job, future in waiting:
            yield job, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _picture(job: Job, objects: ObjectStore) -> bytes | None:
    if not job.image_key:
        return None
    try:
        data = objects.get(job.image_key)
    except NotFound:
        return None
    return data if hashlib.sha256(data).hexdigest() == job.sha256 else None


def _entry(name: str, at_ms: int = 0) -> zipfile.ZipInfo:
    date = time.gmtime(at_ms / 1000)[:6] if at_ms else (1980, 1, 1, 0, 0, 0)
    entry = zipfile.ZipInfo(name, date)
    entry.external_attr = 0o644 << 16
    return entry


class _Pieces(io.RawIOBase):
    """A file that cannot be sought, so that sizes follow the data; what was written is taken away again and again."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # pyright: ignore[reportArgumentType]
        if piece:
            self._written.append(piece)
        return len(piece)

    def take(self) -> list[bytes]:
        """Return what was written since the last time."""
        written, self._written = self._written, []
        return written
