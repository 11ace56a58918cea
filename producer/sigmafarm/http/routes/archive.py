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
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from typing import Self

from sigmafarm.picture_names import file_name
from sigmafarm_common.errors import REDRAW, NotFound, StorageUnavailable
from sigmafarm_common.manifest import MANIFEST_NAME, manifest_line
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Job

#: Of a zip's tag: another one when the same batch would be written in other bytes.
FORM = "zip1"
#: The file that names what is left out.
MISSING_NAME = "missing.txt"
#: Pictures that are fetched ahead.
AHEAD = 4
#: A manifest below this stays in memory until it is sent; and what is copied at once.
SPOOL_BYTES, PIECE_BYTES = 1 << 20, 1 << 18


def zip_pictures(jobs: Iterable[Job], objects: ObjectStore, there: Mapping[str, int] | None = None) -> Generator[bytes]:
    """Yield the pieces of a zip of the jobs' pictures, in row order, with their manifest.

    Raises StorageUnavailable in the midst of it when the object store goes away, or, where it was said which pictures
    are there, has one of them no more: the zip then has no end.
    """
    out = _Pieces()
    with _Told() as told, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for job, picture in _fetch_ahead(jobs, objects, there):
            name = file_name(job) if picture is not None else ""
            if picture is not None:
                archive.writestr(_entry(name, job.finished_ms), picture)
            told.note(job, name)
            yield from out.take()
        for name, file in told.files():
            for _ in _copy(archive, name, file):
                yield from out.take()
    yield from out.take()


def zip_size(jobs: Iterable[Job], there: Mapping[str, int]) -> int:
    """Return the bytes of the zip of pictures that are there: the same is written, with holes in place of pictures."""
    out = _Length()
    with _Told() as told, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for job in jobs:
            name = file_name(job) if job.image_key in there else ""
            if name:
                archive.writestr(_entry(name, job.finished_ms), b"")
                out.skip(there[job.image_key])
            told.note(job, name)
        for name, file in told.files():
            for _ in _copy(archive, name, file):
                pass
    return out.tell()


def sizes_of(jobs: Iterable[Job], objects: ObjectStore, batch_id: str) -> dict[str, int]:
    """Return the bytes of the jobs' pictures that are there as they were recorded, by key."""
    own = {found.key: found.size_bytes for found in objects.list(f"{batch_id}/")}
    wanted = ((job.image_key, job.size_bytes) for job in jobs if job.image_key)
    return {key: size for key, size in wanted if (own[key] if key in own else _size(objects, key)) == size}


def _copy(archive: zipfile.ZipFile, name: str, file: SpooledTemporaryFile[bytes]) -> Iterator[None]:
    """Copy a file into the zip, a piece at a step."""
    file.seek(0)
    with archive.open(_entry(name), "w", force_zip64=True) as entry:
        while piece := file.read(PIECE_BYTES):
            entry.write(piece)
            yield


def _size(objects: ObjectStore, key: str) -> int | None:
    try:
        return objects.stat(key).size_bytes
    except NotFound:
        return None


def _fetch_ahead(
    jobs: Iterable[Job], objects: ObjectStore, there: Mapping[str, int] | None
) -> Iterator[tuple[Job, bytes | None]]:
    waiting: deque[tuple[Job, Future[bytes | None]]] = deque()
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="zip")
    try:
        for job in jobs:
            waiting.append((job, pool.submit(_picture, job, objects, there)))
            if len(waiting) > AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for job, future in waiting:
            yield job, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _picture(job: Job, objects: ObjectStore, there: Mapping[str, int] | None) -> bytes | None:
    if not job.image_key or (there is not None and job.image_key not in there):
        return None
    try:
        data = objects.get(job.image_key)
    except NotFound:
        data = b""
    if hashlib.sha256(data).hexdigest() == job.sha256:
        return data
    if there is not None:
        raise StorageUnavailable(f"{job.image_key} is lost or damaged: fetch the whole zip anew, which says so")
    return None


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


class _Length(io.RawIOBase):
    """A file of which only the length is kept."""

    def __init__(self) -> None:
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data: object) -> int:
        num = memoryview(data).nbytes  # pyright: ignore[reportArgumentType]
        self._length += num
        return num

    def skip(self, num_bytes: int) -> None:
        self._length += num_bytes


class _Told:
    """What a zip says of its pictures: the manifest, and which are missing."""

    def __init__(self) -> None:
        self._manifest = SpooledTemporaryFile[bytes](SPOOL_BYTES)
        self._missing = SpooledTemporaryFile[bytes](SPOOL_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manifest.close()
        self._missing.close()

    def note(self, job: Job, name: str) -> None:
        """Note a job and the name of its picture's file, empty for none."""
        if job.image_key and not name:
            text = f"row {job.row}: {job.image_key} is lost or damaged; {REDRAW}\n"
            self._missing.write(text.encode())
        self._manifest.write(manifest_line(job, name).encode("utf-8", "replace"))

    def files(self) -> list[tuple[str, SpooledTemporaryFile[bytes]]]:
        """Return the files to add, by name."""
        missing = [(MISSING_NAME, self._missing)] if self._missing.tell() else []
        return [(MANIFEST_NAME, self._manifest), *missing]
