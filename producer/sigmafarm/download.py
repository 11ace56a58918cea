"""Brings the pictures of a batch into a folder: every file whole and with the recorded SHA-256, or not there.

Running it again fetches only what is missing, so an interrupted download resumes. The manifest is written last.

A file that was found right is marked by its time of change: the second in which its picture was done, and behind the
point nine digits that follow from its SHA-256. With the recorded size and this mark it is taken for unchanged, and not
read again: whoever writes into it sets another time. `is_deep` reads every file all the same, which finds what a disk
has spoiled by itself. Where a file system keeps no such times, files are read as if nobody had marked them.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, TypeVar

from sigmafarm.picture_names import PictureNames
from sigmafarm_common.errors import REDRAW, NotFound, StorageUnavailable
from sigmafarm_common.manifest import MANIFEST_NAME, all_jobs, manifest_line
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.wording import numbered

#: Pictures that are fetched at the same time.
NUM_THREADS = 8
#: Jobs that may wait for a thread: enough to keep them busy, few enough to need no memory.
MAX_WAITING = 64
#: Tries to fetch one picture whose bytes do not fit its SHA-256.
MAX_TRIES = 2
#: Failures that a message spells out.
NUM_SHOWN = 3

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Download:
    """What a download did."""

    folder: Path
    #: Pictures fetched now, and pictures that were there already.
    num_fetched: int
    num_present: int
    #: Jobs without a picture: failed, cancelled, or not drawn yet.
    num_without: int
    #: Jobs whose name got a number, since an earlier one has the same; and those that had to be named by row.
    num_doubled: int = 0
    num_unnamed: int = 0


def download_batch(
    store: ReadSide,
    objects: ObjectStore,
    batch_id: str,
    folder: Path,
    *,
    num_threads: int = NUM_THREADS,
    name_by: str = "",
    is_deep: bool = False,
    on_job: Callable[[Job], None] = lambda _: None,
) -> Download:
    """Fetch every picture that is drawn, as `000017.png` and so on, or by a column of the jobs' own, and write
    manifest.jsonl beside them. `is_deep` reads files anew that are there.

    Raises StorageUnavailable, after all that can be fetched is, where a picture is missing or damaged, and
    InvalidRequest for a column that the jobs do not have.
    """
    _make_folder(folder)
    outcomes: Counter[bool | None] = Counter()
    lost: list[str] = []  # the first NUM_SHOWN
    num_lost = 0
    names = PictureNames(name_by)

    def fetch(item: tuple[Job, str]) -> bool | str | None:
        return _fetch_if_missing(objects, item[0], folder / item[1], is_deep=is_deep)

    with _replacing(folder / MANIFEST_NAME) as manifest:
        for (job, name), outcome in _in_order(names.of(all_jobs(store, batch_id)), fetch, num_threads):
            manifest.write(manifest_line(job, name).encode())
            if isinstance(outcome, str):
                num_lost += 1
                lost += [f"row {job.row}: {outcome}"] if num_lost <= NUM_SHOWN else []
            else:
                outcomes[outcome] += 1
            on_job(job)
    if lost:
        more = f"; and {num_lost - NUM_SHOWN} more" if num_lost > NUM_SHOWN else ""
        raise StorageUnavailable(f"{numbered(num_lost, 'picture')} could not be fetched: {'; '.join(lost)}{more}")
    return Download(
        folder,
        num_fetched=outcomes[True],
        num_present=outcomes[False],
        num_without=outcomes[None],
        num_doubled=names.num_doubled,
        num_unnamed=names.num_without,
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"folder {folder} cannot be made: {error.strerror}; name another") from None


def _in_order(items: Iterable[S], work: Callable[[S], T], num_threads: int) -> Iterator[tuple[S, T]]:
    """Yield every item with what `work` made of it, in order, some worked on at the same time."""
    waiting: deque[tuple[S, Future[T]]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= MAX_WAITING:
                yield _take_finished(waiting)
        while waiting:
            yield _take_finished(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _take_finished(waiting: deque[tuple[S, Future[T]]]) -> tuple[S, T]:
    item, future = waiting.popleft()
    return item, future.result()


def _fetch_if_missing(objects: ObjectStore, job: Job, path: Path, *, is_deep: bool) -> bool | str | None:
    """Return whether the picture had to be fetched, None if there is none, or a sentence if it could not be."""
    if job.state is not JobState.SUCCEEDED:
        return None
    if _is_there(path, job, is_deep=is_deep):
        return False
    for _ in range(MAX_TRIES):
        try:
            _fetch(objects, job, path)
            return True
        except NotFound as error:
            return f"{error}; {REDRAW}"
        except _DamagedError:
            continue
    return f"{job.image_key} is damaged, its SHA-256 is not the recorded {job.sha256[:12]}...; {REDRAW}"


def _is_there(path: Path, job: Job, *, is_deep: bool) -> bool:
    """Whether a file is the job's picture: by size and mark, else by its bytes; then it gets the mark."""
    try:
        found = path.stat()
        if not S_ISREG(found.st_mode) or found.st_size != job.size_bytes:
            return False
        if found.st_mtime_ns == _mark_ns(job) and not is_deep:
            return True
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != job.sha256:
                return False
        _set_mark(path, job)
    except OSError:  # what cannot be read is written anew, and that says why it cannot be
        return False
    return True


def _mark_ns(job: Job) -> int:
    """Return the time of change, in nanoseconds, of the file that is a job's picture."""
    return job.finished_ms // 1000 * 10**9 + int(job.sha256[:12] or "0", 16) % 10**9


def _set_mark(path: Path, job: Job) -> None:
    with suppress(OSError):  # another user's file, say: it is read again next time
        os.utime(path, ns=(path.stat().st_atime_ns, _mark_ns(job)))


def _fetch(objects: ObjectStore, job: Job, path: Path) -> None:
    with _replacing(path) as file:
        digest = hashlib.sha256()
        for piece in objects.stream(job.image_key):
            digest.update(piece)
            file.write(piece)
        if digest.hexdigest() != job.sha256:
            raise _DamagedError
    _set_mark(path, job)


@contextmanager
def _replacing(path: Path) -> Generator[BinaryIO]:
    """Give a file that takes the path's place in one stroke at the end, and is gone if anything goes wrong."""
    partial = path.with_name(f".partial-{path.name}")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be written: {error.strerror}; free space or name another folder"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


class _DamagedError(Exception):
    """The bytes that came are not those that were stored."""
