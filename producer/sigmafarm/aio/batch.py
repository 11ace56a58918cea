"""A batch in the hand of a program with an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmafarm.aio.documented import says_as
from sigmafarm.aio.job import AsyncFarmJob
from sigmafarm.as_drawn import drawn_jobs
from sigmafarm.async_calls import Calls
from sigmafarm.batch import FarmBatch
from sigmafarm.connections import Connections
from sigmafarm.download import Download
from sigmafarm.reports import Report
from sigmafarm.sheets import Sheet
from sigmafarm.sheets.sheet import SIDE_PX
from sigmafarm.waiting import batch_wait
from sigmafarm_common.records import Batch, Counts, Job
from sigmafarm_common.states import JobState

if TYPE_CHECKING:
    from PIL.Image import Image


class AsyncFarmBatch:
    """One batch of a farm: FarmBatch, to be awaited. `await batch` waits for its end.

    A cancelled await of anything here leaves nothing behind, and does not touch the jobs: `cancel` does.
    """

    def __init__(self, batch: FarmBatch, connections: Connections, calls: Calls):
        self.id, self.is_new = batch.id, batch.is_new
        #: The bad rows that were left out, where skipping them was asked for: the first hundred, and how many.
        self.skipped, self.num_skipped = batch.skipped, batch.num_skipped
        self._batch, self._connections, self._calls = batch, connections, calls

    def __repr__(self) -> str:
        return f"AsyncFarmBatch({self.id!r})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: bar, counts, first pictures. Notebooks ask without an await: this waits."""
        return self._batch._repr_html_()  # pyright: ignore[reportPrivateUsage] - the name is IPython's

    def __await__(self) -> Generator[Any, None, Counts]:
        """Wait as `wait` does, and return the counts: `counts = await batch`."""
        return self.wait().__await__()

    async def record(self) -> Batch:
        """Return the whole record: name, priority, counts, times."""
        return await self._calls.run(lambda: self._batch.record)

    async def counts(self) -> Counts:
        """Return how many jobs stand in each state."""
        return await self._calls.run(lambda: self._batch.counts)

    @says_as(FarmBatch.jobs)
    async def jobs(self, *, state: JobState | str | None = None) -> AsyncIterator[AsyncFarmJob]:
        """As FarmBatch.jobs: `async for job in batch.jobs()`."""
        async with aclosing(self._calls.each_of(lambda: self._batch.jobs(state=state))) as jobs:
            async for job in jobs:
                yield self._held(job)

    @says_as(FarmBatch.wait)
    async def wait(self, *, progress: bool = False, timeout_s: float | None = None) -> Counts:
        """As FarmBatch.wait. No thread is held while nothing is asked."""
        store, clock = self._connections.store, self._connections.clock
        return await self._calls.run_through(
            batch_wait(store, self.id, clock, has_progress=progress, timeout_s=timeout_s)
        )

    @says_as(FarmBatch.images)
    async def images(self) -> AsyncIterator[tuple[AsyncFarmJob, Image]]:
        """As FarmBatch.images: `async for job, image in batch.images()`."""
        store, clock = self._connections.store, self._connections.clock
        async with aclosing(self._calls.things_of(drawn_jobs(store, self.id, clock, look_s=0))) as jobs:
            async for record in jobs:
                job = self._held(record)
                yield job, await job.image()

    @says_as(FarmBatch.download)
    async def download(
        self,
        folder: str | Path,
        *,
        name_by: str = "",
        verify: bool = False,
        num_threads: int = 8,
        on_job: Callable[[Job], None] = lambda _: None,
    ) -> Download:
        """As FarmBatch.download; `on_job` is called in a thread. Cancelled, it ends with the pictures that it is at."""

        def download(check: Callable[[], None]) -> Download:
            def told(job: Job) -> None:
                check()
                on_job(job)

            return self._batch.download(folder, name_by=name_by, verify=verify, num_threads=num_threads, on_job=told)

        return await self._calls.run_checked(download)

    @says_as(FarmBatch.report)
    async def report(self) -> Report:
        """As FarmBatch.report."""
        return await self._calls.run(self._batch.report)

    @says_as(FarmBatch.sheet)
    async def sheet(self, *, side_px: int = SIDE_PX) -> Sheet:
        """As FarmBatch.sheet. A page reads its pictures: `await asyncio.to_thread(sheet.draw, 1)`."""
        return await self._calls.run(partial(self._batch.sheet, side_px=side_px))

    @says_as(FarmBatch.rate)
    async def rate(self, rating: int) -> int:
        """As FarmBatch.rate."""
        return await self._calls.run(partial(self._batch.rate, rating))

    @says_as(FarmBatch.pause)
    async def pause(self) -> Batch:
        """As FarmBatch.pause."""
        return await self._calls.run(self._batch.pause)

    @says_as(FarmBatch.resume)
    async def resume(self) -> Batch:
        """As FarmBatch.resume."""
        return await self._calls.run(self._batch.resume)

    @says_as(FarmBatch.set_priority)
    async def set_priority(self, priority: int) -> Batch:
        """As FarmBatch.set_priority."""
        return await self._calls.run(partial(self._batch.set_priority, priority))

    @says_as(FarmBatch.cancel)
    async def cancel(self) -> int:
        """As FarmBatch.cancel."""
        return await self._calls.run(self._batch.cancel)

    @says_as(FarmBatch.retry)
    async def retry(self, *, states: Iterable[JobState] = (JobState.FAILED,)) -> int:
        """As FarmBatch.retry."""
        return await self._calls.run(partial(self._batch.retry, states=states))

    def _held(self, job: Job) -> AsyncFarmJob:
        return AsyncFarmJob.held(job, self._connections, self._calls)
