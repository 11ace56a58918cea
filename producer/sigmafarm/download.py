"""Brings the pictures of a batch into a folder: every file whole and with the recorded SHA-256, or not there.

Running it again fetches only what is missing, so an interrupted download resumes. The manifest is written last.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from sigmafarm_common.errors import REDRAW, NotFound, StorageUnavailable
from sigmafarm_common.manifest import MANIFEST_NAME, all_jobs, manifest_line
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide

#: Pictures that are fetched at the same time.
NUM_THREADS = 8
#: Jobs that may wait for a thread: enough to keep them busy, few enough to need no memory.
MAX_WAITING = 64
#: Tries to fetch one picture whose bytes do not fit its SHA-256.
MAX_TRIES = 2
#: Failures that a message spells out.
NUM_SHOWN = 3

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


def download_batch(
    store: ReadSide,
    objects: ObjectStore,
    batch_id: str,
    folder: Path,
    *,
    num_threads: int = NUM_THREADS,
    on_job: Callable[[Job], None] = lambda _: None,
) -> Download:
    """Fetch every picture that is drawn, as `000017.png` and so on, and write manifest.jsonl beside them.

    Raises StorageUnavailable, after all that can be fetched is, where a picture is missing or damaged.
    """
    _make_folder(folder)
    outcomes: Counter[bool | None] = Counter()
    lost: list[str] = []  # the first NUM_SHOWN
    num_lost = 0
    with _replacing(folder / MANIFEST_NAME) as manifest:
        for job, outcome in _in_order(
            all_jobs(store, batch_id), lambda job: _fetch_if_missing(objects, job, folder), num_threads
        ):
            manifest.write(manifest_line(job, file_name(job)).encode())
            if isinstance(outcome, str):
                num_lost += 1
                lost += [f"row {job.row}: {outcome}"] if num_lost <= NUM_SHOWN else []
            else:
                outcomes[outcome] += 1
            on_job(job)
    if lost:
        more = f"; and {num_lost - NUM_SHOWN} more" if num_lost > NUM_SHOWN else ""
        raise StorageUnavailable(f"{num_lost} pictures could not be fetched: {'; '.join(lost)}{more}")
    return Download(folder, num_fetched=outcomes[True], num_present=outcomes[False], num_without=outcomes[None])


def file_name(job: Job) -> str:
    """Return the name of a job's picture in a folder, empty if it has none."""
    return f"{job.row:06d}{PurePosixPath(job.image_key).suffix}" if job.image_key else ""


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"folder {folder} cannot be made: {error.strerror}; name another") from None


def _in_order(jobs: Iterable[Job], work: Callable[[Job], T], num_threads: int) -> Iterator[tuple[Job, T]]:
    """Yield every job with what `work` made of it, in order, some worked on at the same time."""
    waiting: deque[tuple[Job, Future[T]]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for job in jobs:
            waiting.append((job, pool.submit(work, job)))
            if len(waiting) >= MAX_WAITING:
                yield _take_finished(waiting)
        while waiting:
            yield _take_finished(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _take_finished(waiting: deque[tuple[Job, Future[T]]]) -> tuple[Job, T]:
    job, future = waiting.popleft()
    return job, future.result()


def _fetch_if_missing(objects: ObjectStore, job: Job, folder: Path) -> bool | str | None:
    """Return whether the picture had to be fetched, None if there is none, or a sentence if it could not be."""
    if job.state is not JobState.SUCCEEDED:
        return None
    path = folder / file_name(job)
    if _has_bytes(path, job):
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


def _has_bytes(path: Path, job: Job) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == job.sha256


def _fetch(objects: ObjectStore, job: Job, path: Path) -> None:
    with _replacing(path) as file:
        digest = hashlib.sha256()
        for piece in objects.stream(job.image_key):
            digest.update(piece)
            file.write(piece)
        if digest.hexdigest() != job.sha256:
            raise _DamagedError


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
