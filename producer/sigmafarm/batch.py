"""A batch in the hand: what `farm.submit` returns, to wait for, to steer and to download."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmafarm.as_drawn import drawn_jobs
from sigmafarm.async_calls import Calls
from sigmafarm.connections import Connections
from sigmafarm.download import Download, download_batch
from sigmafarm.job import FarmJob
from sigmafarm.notebooks import NUM_PICTURES, batch_html
from sigmafarm.pausing import things_of
from sigmafarm.reports import Report, make_report
from sigmafarm.sheets import Sheet
from sigmafarm.sheets.sheet import SIDE_PX
from sigmafarm.waiting import batch_wait, wait_for_batch
from sigmafarm_common.errors import RowError, SigmafarmError
from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.records import Batch, Counts, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.refusals import check_rating
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
        connections: Connections,
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
        self._connections = connections

    def __repr__(self) -> str:
        return f"FarmBatch({self.id!r})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: bar, counts, first pictures. Says less where the farm does not answer."""
        try:
            drawn = list(islice(self.jobs(state=JobState.SUCCEEDED), NUM_PICTURES))
            page = self._connections.page(f"/batches/{self.id}")
            return batch_html(self.record, drawn, self._connections.objects, page)
        except SigmafarmError as error:
            return escape(visible(f"{self!r}: {error}"))

    def __await__(self) -> Generator[Any, None, Counts]:
        """Wait as `wait` does, and return the counts: `counts = await batch`. Looks are made in asyncio's own threads;
        none is held in between. Cancelled, it ends at once, and the jobs go on."""
        return Calls().run_through(batch_wait(self._connections.store, self.id, self._connections.clock)).__await__()

    @property
    def record(self) -> Batch:
        """The whole record: name, priority, counts, times."""
        return self._connections.store.batch(self.id)

    @property
    def counts(self) -> Counts:
        """How many jobs stand in each state."""
        return self.record.counts

    def jobs(self, *, state: JobState | str | None = None) -> Iterator[FarmJob]:
        """Yield the jobs in row order, those of one state if one is named; they are read a page at a time."""
        jobs = all_jobs(self._connections.store, self.id, state=JobState(state) if state else None)
        return (FarmJob.made_of(job, self._connections) for job in jobs)

    def wait(self, *, progress: bool = False, timeout_s: float | None = None) -> Counts:
        """Wait until every job is succeeded, failed or cancelled, and return the counts.

        When the time is over first, the counts say so (`is_done` is false). With `progress`, a bar is drawn: beneath
        the cell of a notebook, else on stderr if that is a terminal. A farm that is away for less than a minute does
        not end the wait.
        """
        store, clock = self._connections.store, self._connections.clock
        return wait_for_batch(store, self.id, clock, has_progress=progress, timeout_s=timeout_s)

    def images(self) -> Iterator[tuple[FarmJob, Image]]:
        """Yield each job with its picture (of Pillow) as it is drawn: those that are there by row, then others as they
        end, until no job is open. Failed jobs have none: `jobs(state="failed")` tells of them.

        Raises StorageUnavailable or AccessDenied; a farm that is away for less than a minute ends nothing.
        """
        clock = self._connections.clock
        for record in things_of(drawn_jobs(self._connections.store, self.id, clock), clock):
            job = FarmJob.made_of(record, self._connections)
            yield job, job.image()

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
            self._connections.store,
            self._connections.objects,
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
        return make_report(self.record, self.jobs(), self._connections.store.now_ms())

    def sheet(self, *, side_px: int = SIDE_PX) -> Sheet:
        """Return the contact sheet of the batch as it is now: `sheet().draw(1)` is its first page, a PIL image.

        Jobs of a sweep, or of alternatives, stand in a table by what was chosen for them; others in row order with
        their prompts. Where there is no picture, the sheet says why. Raises InvalidRequest for a bad size."""
        return Sheet(self._connections.store, self._connections.objects, self.record, side_px=side_px)

    def rate(self, rating: int) -> int:
        """Rate all pictures that are drawn from 1 to 5, or take their ratings back with 0; return how many there are.
        One alone: `farm.job(id).rate(5)`. Raises InvalidRequest for another rating."""
        check_rating(rating)
        drawn = list(self.jobs(state=JobState.SUCCEEDED))
        for job in drawn:
            job.rate(rating)
        return len(drawn)

    def pause(self) -> Batch:
        """Stop dispatching; what runs goes back to the queue at its worker's next renewal."""
        return self._connections.store.pause_batch(self.id)

    def resume(self) -> Batch:
        """Go on after a pause."""
        return self._connections.store.resume_batch(self.id)

    def set_priority(self, priority: int) -> Batch:
        """Change the priority of what still waits. Raises InvalidRequest for one beyond -100 to 100."""
        return self._connections.store.set_priority(self.id, priority)

    def cancel(self) -> int:
        """Cancel every queued and running job; return how many there were."""
        return self._connections.store.cancel_batch(self.id)

    def retry(self, *, states: Iterable[JobState] = (JobState.FAILED,)) -> int:
        """Queue failed jobs (and cancelled ones, if asked) again; return how many."""
        return self._connections.store.retry_batch(self.id, states=states)
