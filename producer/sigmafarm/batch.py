"""A batch in the hand: what `farm.submit` returns, to wait for, to steer and to download."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmafarm.as_drawn import drawn_jobs, image_of
from sigmafarm.download import Download, download_batch
from sigmafarm.notebook import NUM_PICTURES, batch_html
from sigmafarm.reports import Report, make_report
from sigmafarm.sheets import Sheet
from sigmafarm.sheets.sheet import SIDE_PX
from sigmafarm.waiting import wait_for_batch
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import RowError, SigmafarmError
from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Batch, Counts, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.visible import visible

if TYPE_CHECKING:
    from PIL.Image import Image


class FarmBatch:
    """One batch of a farm. Every question asks the farm anew; the handle itself knows only the id.

    Every method raises StoreUnavailable when the farm does not answer.
    """

    def __init__(
        self,
        batch_id: str,
        store: Store,
        objects: Callable[[], ObjectStore],
        clock: Clock,
        *,
        is_new: bool = True,
        skipped: tuple[RowError, ...] = (),
        num_skipped: int = 0,
    ):
        self.id = batch_id
        #: False if an idempotency key named a batch that was there already.
        self.is_new = is_new
        #: The bad rows that were left out, where skipping them was asked for: the first hundred, and how many.
        self.skipped = skipped
        self.num_skipped = num_skipped
        self._store, self._objects, self._clock = store, objects, clock

    def __repr__(self) -> str:
        return f"FarmBatch({self.id!r})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: bar, counts, first pictures. Says less where the farm does not answer."""
        try:
            drawn = list(islice(self.jobs(state=JobState.SUCCEEDED), NUM_PICTURES))
            return batch_html(self.record, drawn, self._objects())
        except SigmafarmError as error:
            return escape(visible(f"{self!r}: {error}"))

    def __await__(self) -> Generator[Any, None, Counts]:
        """Wait in a thread, as `wait` does, and return the counts: `counts = await batch`."""
        import asyncio  # brings a twentieth of a second: only when asked

        return asyncio.to_thread(self.wait).__await__()

    @property
    def record(self) -> Batch:
        """The whole record: name, priority, counts, times."""
        return self._store.batch(self.id)

    @property
    def counts(self) -> Counts:
        """How many jobs stand in each state."""
        return self.record.counts

    def jobs(self, *, state: JobState | str | None = None) -> Iterator[Job]:
        """Yield the jobs in row order, those of one state if one is named; they are read a page at a time."""
        return all_jobs(self._store, self.id, state=JobState(state) if state else None)

    def wait(self, *, progress: bool = False, timeout_s: float | None = None) -> Counts:
        """Wait until every job is succeeded, failed or cancelled, and return the counts.

        When the time is over first, the counts say so (`is_done` is false). With `progress`, a bar is drawn on stderr.
        A farm that is away for less than a minute does not end the wait.
        """
        return wait_for_batch(self._store, self.id, self._clock, has_progress=progress, timeout_s=timeout_s)

    def images(self) -> Iterator[tuple[Job, Image]]:
        """Yield each job with its picture (of Pillow) as it is drawn: those that are there by row, then others as they
        end, until no job is open. Failed jobs have none: `jobs(state="failed")` tells of them.

        Raises StorageUnavailable or AccessDenied; a farm that is away for less than a minute ends nothing.
        """
        objects = self._objects()
        for job in drawn_jobs(self._store, self.id, self._clock):
            yield job, image_of(objects, job)

    def download(
        self,
        folder: str | Path,
        *,
        name_by: str = "",
        verify: bool = False,
        num_threads: int = 8,
        on_job: Callable[[Job], None] = lambda _: None,
    ) -> Download:
        """Fetch every picture that is drawn into a folder, as `000017.png`, with manifest.jsonl beside them.

        `name_by` names the files by a column of the rows' own, such as `id`. Files that are there already are not
        fetched again; those that did not change since are not read either, unless `verify` is true. Raises
        StorageUnavailable or AccessDenied; what was fetched until then stays. InvalidRequest for a column that the jobs
        do not have.
        """
        return download_batch(
            self._store,
            self._objects(),
            self.id,
            Path(folder),
            num_threads=num_threads,
            name_by=name_by,
            is_deep=verify,
            on_job=on_job,
        )

    def report(self) -> Report:
        """Return what became of the batch as it is now: counts, failures by reason with their rows, times, settings in
        use, own columns. `report().html()` is a page of its own, `.to_json()` is for programs."""
        return make_report(self.record, self.jobs(), self._store.now_ms())

    def sheet(self, *, side_px: int = SIDE_PX) -> Sheet:
        """Return the contact sheet of the batch as it is now: `sheet().draw(1)` is its first page, a PIL image.

        Jobs of a sweep, or of alternatives, stand in a table by what was chosen for them; others in row order with
        their prompts. Where there is no picture, the sheet says why. Raises InvalidRequest for a bad size."""
        return Sheet(self._store, self._objects(), self.record, side_px=side_px)

    def pause(self) -> Batch:
        """Stop dispatching; what runs goes back to the queue at its worker's next renewal."""
        return self._store.pause_batch(self.id)

    def resume(self) -> Batch:
        """Go on after a pause."""
        return self._store.resume_batch(self.id)

    def set_priority(self, priority: int) -> Batch:
        """Change the priority of what still waits. Raises InvalidRequest for one beyond -100 to 100."""
        return self._store.set_priority(self.id, priority)

    def cancel(self) -> int:
        """Cancel every queued and running job; return how many there were."""
        return self._store.cancel_batch(self.id)

    def retry(self, *, states: Iterable[JobState] = (JobState.FAILED,)) -> int:
        """Queue failed jobs (and cancelled ones, if asked) again; return how many."""
        return self._store.retry_batch(self.id, states=states)
