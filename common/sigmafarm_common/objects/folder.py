"""The object store in a folder: one file an object, written beside its place, fsynced, moved in one stroke."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import wraps
from pathlib import Path
from typing import BinaryIO, Concatenate, ParamSpec, TypeVar

from sigmafarm_common.errors import AccessDenied, InvalidInput, NotFound, StorageUnavailable
from sigmafarm_common.objects.protocol import CHUNK_BYTES, ObjectInfo, checked_key

#: What unfinished files begin with; no key can.
PARTIAL_PREFIX = ".partial-"

#: Methods that may find no object; where another misses a file, the folder itself is not there.
SEEKERS = frozenset({"get", "stream", "stat"})

P = ParamSpec("P")
R = TypeVar("R")


def _translated(
    method: Callable[Concatenate[FolderStore, P], R],
) -> Callable[Concatenate[FolderStore, P], R]:
    """Turn the system's errors into the farm's."""

    @wraps(method)
    def call(self: FolderStore, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except OSError as error:
            raise self.explained(error, may_be_missing=method.__name__ in SEEKERS) from error

    return call


class FolderStore:
    """Objects as files below one folder; the folder is made when it is first needed."""

    def __init__(self, folder: Path):
        self.folder = folder.expanduser().absolute()

    @_translated
    def check(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(prefix=PARTIAL_PREFIX, dir=self.folder) as probe:
            probe.write(b"sigmafarm")
            os.fsync(probe.fileno())

    @_translated
    def put(self, key: str, data: bytes | BinaryIO, content_type: str) -> None:
        del content_type  # a file's name says it
        path = self._path(key)
        _make_folder(path.parent)
        handle, partial = tempfile.mkstemp(prefix=PARTIAL_PREFIX, dir=path.parent)
        try:
            with open(handle, "wb") as file:
                _write(file, data)
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    @_translated
    def get(self, key: str) -> bytes:
        return self._path(key).read_bytes()

    @_translated
    def stream(self, key: str) -> Iterator[bytes]:
        pieces = self._pieces(self._path(key).open("rb"))
        next(pieces)  # from here on its end, whatever it is, closes the file
        return pieces

    @_translated
    def stat(self, key: str) -> ObjectInfo:
        return self._info(self._path(key))

    @_translated
    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    @_translated
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        parent = prefix.rpartition("/")[0]
        root = self.folder / checked_key(parent) if parent else self.folder
        return (
            info for info in self._files(root) if info.key.startswith(prefix) and not _name(info.key).startswith(".")
        )

    @_translated
    def partials(self) -> Iterator[ObjectInfo]:
        return (info for info in self._files(self.folder) if _name(info.key).startswith(PARTIAL_PREFIX))

    @_translated
    def delete_partial(self, key: str) -> None:
        folder, slash, name = key.rpartition("/")
        if not name.startswith(PARTIAL_PREFIX):
            raise InvalidInput(f"{key[:80]!r} is no half-written file: their names begin with {PARTIAL_PREFIX}")
        (self.folder / checked_key(f"{folder}{slash}x")).with_name(name).unlink(missing_ok=True)

    def url(self, key: str, expires_s: int = 600) -> str:
        del expires_s  # files have no links that end
        return self._path(key).as_uri()

    def explained(
        self, error: OSError, *, may_be_missing: bool = False
    ) -> NotFound | StorageUnavailable | AccessDenied:
        """Return the farm's error for one of the system's."""
        path, reason = error.filename or self.folder, error.strerror or str(error)
        if may_be_missing and isinstance(error, (FileNotFoundError, IsADirectoryError)):
            return NotFound(f"{path} is not in the folder of pictures {self.folder}")
        if isinstance(error, PermissionError):
            return AccessDenied(f"{path}: {reason}; let this user write there, or set SIGMAFARM_OBJECTS_URL elsewhere")
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return StorageUnavailable(f"the disk of {self.folder} is full; free some space, then submit or retry")
        return StorageUnavailable(f"{path}: {reason}; check SIGMAFARM_OBJECTS_URL, which names {self.folder}")

    def _path(self, key: str) -> Path:
        return self.folder / checked_key(key)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _info(self, path: Path) -> ObjectInfo:
        stat = path.stat()
        return ObjectInfo(self._key(path), stat.st_size, stat.st_mtime_ns // 1_000_000)

    def _files(self, root: Path) -> Iterator[ObjectInfo]:
        """Return every file below a folder, read whole at the call."""
        paths = [Path(place, name) for place, _, names in os.walk(root) for name in names]
        infos = [self._info_if_there(path) for path in paths]
        return iter([info for info in infos if info is not None])

    def _info_if_there(self, path: Path) -> ObjectInfo | None:
        try:
            return self._info(path)
        except FileNotFoundError:  # deleted since the folder was read
            return None

    def _pieces(self, file: BinaryIO) -> Generator[bytes]:
        """Yield nothing, then a file's pieces."""
        try:
            with file:
                yield b""
                while piece := file.read(CHUNK_BYTES):
                    yield piece
        except OSError as error:
            raise self.explained(error) from error


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _write(file: BinaryIO, data: bytes | BinaryIO) -> None:
    if isinstance(data, bytes):
        file.write(data)
    else:
        shutil.copyfileobj(data, file, CHUNK_BYTES)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each lasting as soon as its parent knows it on disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
