"""A batch for a client that waits: submitted, waited for by its events, its pictures read back.

Nothing polls: the process's one reader of the event stream says when to look. A look now and then covers what the feed
may miss while Redis is away; that alone does not end a wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from sigmafarm.awaited import Awaited, records_lost
from sigmafarm.http.actions import submit as submission
from sigmafarm.http.actions.submission_options import Options
from sigmafarm.http.feed import RESYNC, Listener
from sigmafarm.http.fronts.lobby import Seat
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import (
    Conflict,
    FarmUnavailable,
    InvalidRequest,
    InvalidRows,
    NotDrawnInTime,
    RenderError,
    SigmafarmError,
    StoreUnavailable,
)
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import EventKind

#: Somebody sits and waits: ahead of batches that nobody gave a priority.
PRIORITY = 50
#: A look at the batch without news: for what the feed missed.
LOOK_S = 10.0
#: Pause before another look while Redis is away.
AWAY_S = 1.0
#: Events after which a batch may be over.
ENDS = frozenset({EventKind.BATCH_FINISHED, EventKind.JOB_FAILED, RESYNC})
#: Why jobs fail by a fault of their request.
REQUEST_FAULTS = frozenset({"trajectory_diverged", "picture_too_large", "invalid_request", "unknown_model"})

T = TypeVar("T")


def submit(
    site: Site,
    caller: Caller,
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    *,
    num: int,
    name: str,
    idempotency_key: str | None = None,
) -> str:
    """Submit rows of one request for the caller's owner, `num` pictures of each; return the batch's id.

    Raises InvalidRequest, UnknownModel, TooManyRequests, SubmitInProgress. Asks the store: call it in a thread.
    """
    said = {key: value for key, value in settings.items() if value is not None}
    options = Options().replaced({**said, "name": name, "priority": PRIORITY, "repeat": num})
    try:
        return submission.submit(site, caller.owner, rows, options, idempotency_key).id
    except InvalidRows as error:  # they are of one request: their numbers say nothing
        raise InvalidRequest(error.rows[0].fields) from None


async def wait_until_drawn(site: Site, seat: Seat, *, again_until_s: float = 0.0) -> Batch:
    """Return the batch when all of it is drawn or something failed. Raises as `watch_batch` does."""
    async with aclosing(watch_batch(site, seat, again_until_s=again_until_s)) as seen:
        async for batch in seen:
            if is_over(batch):
                return batch
    raise AssertionError("watch_batch never ends by itself")


async def watch_batch(
    site: Site,
    seat: Seat,
    *,
    kinds: Collection[str] = ENDS,
    every_s: Callable[[], float] = lambda: LOOK_S,
    again_until_s: float = 0.0,
) -> AsyncGenerator[Batch]:
    """Yield the batch as it is now, after each event of some kinds, and every so often.

    What another process cancels before again_until_s, because the client left that, is queued again. Raises
    NotDrawnInTime after draw_wait_s, StoreUnavailable when this process ends, RecordsLost where Redis has lost it: the
    client has never heard of a batch, and its next try is accepted anew.
    """
    limit_s = site.config.draw_wait_s
    end_s = site.clock.monotonic_s() + limit_s
    async with site.feed.listen(lambda event, _owner: event.batch_id == seat.batch_id) as listener:
        while True:
            batch = await _read_batch(site, seat.batch_id)
            if batch is not None and batch.counts.cancelled and site.clock.monotonic_s() < again_until_s:
                await to_thread.run_sync(queue_again, site, batch)
            elif batch is not None:
                yield batch
            left_s = end_s - site.clock.monotonic_s()
            if left_s <= 0:
                seat.give_up()
                raise await to_thread.run_sync(_too_late, site, limit_s)
            wait_s = AWAY_S if batch is None else every_s()
            await _wait_for_news(site.clock, listener, seat, kinds, min(wait_s, left_s))


def is_over(batch: Batch) -> bool:
    """Whether the client's answer is certain: everything ended, or one picture cannot be."""
    return batch.counts.is_done or batch.counts.failed > 0


def queue_again(site: Site, batch: Batch) -> None:
    """Queue what was cancelled when the client left: it is back."""
    if batch.counts.cancelled:
        site.store.retry_batch(batch.id, states=[JobState.CANCELLED], max_open_jobs=site.config.max_open_jobs)


def ended_jobs(site: Site, batch: Batch) -> list[Job]:
    """Return the jobs of a batch that is over, drawn or cancelled. Raises RenderError for one that failed, RecordsLost
    where Redis has lost some."""
    jobs = site.store.jobs(batch.id, limit=max(batch.counts.total, 1))
    if len(jobs) < batch.counts.total:
        raise records_lost("this request")
    for job in jobs:
        if job.state is JobState.FAILED:
            raise _render_error(job)
    return jobs


def drawn_jobs(site: Site, batch: Batch) -> list[Job]:
    """Return the jobs of a batch that is over, all drawn. Raises RenderError, and Conflict for a cancelled one."""
    jobs = ended_jobs(site, batch)
    if any(job.state is JobState.CANCELLED for job in jobs):
        raise Conflict(f"batch {batch.id} was cancelled while you waited for it: ask again if you still want it")
    return jobs


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work gives. Raises ClientDisconnect, and ends the work, when the client leaves first.

    The body must have been read: what the client sends after it is that it leaves.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_batch(site: Site, batch_id: str) -> Batch | None:
    """Return the batch, None while Redis is away."""
    read = Awaited(lambda: site.store.batch(batch_id), "this request", was_there=True)
    try:
        return await to_thread.run_sync(read)
    except FarmUnavailable as error:
        if not error.retryable:
            raise
        return None


async def _wait_for_news(
    clock: Clock, listener: Listener, seat: Seat, kinds: Collection[str], timeout_s: float
) -> None:
    """Wait for an event of some kinds, or for a time."""
    end_s = clock.monotonic_s() + timeout_s
    while (left_s := end_s - clock.monotonic_s()) > 0:
        try:
            event = await listener.next(left_s)
        except EOFError:
            seat.keep()
            raise StoreUnavailable("this server goes down: ask again, its next one goes on") from None
        if event is None or event.kind in kinds:
            return


def _too_late(site: Site, limit_s: float) -> NotDrawnInTime:
    try:
        num = len([worker for worker in site.store.workers() if not worker.is_draining])
        busy = f"workers that draw now: {num}"
    except SigmafarmError:
        busy = "Redis is away"
    return NotDrawnInTime(
        f"not drawn within {limit_s:g} s, and cancelled ({busy}): raise SIGMAFARM_DRAW_WAIT_S, or submit to "
        "/v1/batches, where nobody has to wait"
    )


def _render_error(job: Job) -> RenderError:
    error = RenderError(f"job {job.id} could not be drawn: {job.error}")
    error.code = job.error_code or RenderError.code
    error.http_status = 422 if error.code in REQUEST_FAULTS else RenderError.http_status
    return error
