"""AsyncFarm on a real farm: all that Farm does, many at a time, and nothing left behind where an await is cancelled."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sigmafarm import AsyncFarm, AsyncFarmBatch, Farm, InvalidRows, NotFound
from tests.farm_hand import Drawer, FarmHand
from tests.limits import LIMIT_S, until

T = TypeVar("T")


def on_it(farm: Farm, do: Callable[[AsyncFarm], Awaitable[T]], **about: Any) -> T:
    """Run what is to be done with an AsyncFarm in an event loop."""

    async def run() -> T:
        async with AsyncFarm(farm.config, **about) as many:
            return await asyncio.wait_for(do(many), LIMIT_S)

    return asyncio.run(run())


def test_a_batch_from_submit_to_files(farm: Farm, hand: FarmHand, tmp_path: Path):
    async def use(many: AsyncFarm) -> None:
        batch = await many.submit(["a", "fail b", "c"], name="n", sweep={"num_inference_steps": [3, 4]})
        assert (await many.plan(["a"], repeat=3)).num_jobs == 3
        counts = await batch
        assert (counts.succeeded, counts.failed) == (4, 2)
        assert (await batch.wait()) == await batch.counts() == (await batch.record()).counts
        assert [job.row async for job in batch.jobs(state="failed")] == [2, 3]
        drawn = [(job.row, image.size) async for job, image in batch.images()]
        assert drawn == [(row, (64, 64)) for row in (0, 1, 4, 5)]
        seen: list[int] = []
        done = await batch.download(tmp_path / "out", on_job=lambda job: seen.append(job.row))
        assert (done.num_fetched, seen) == (4, [*range(6)])
        assert (await batch.sheet()).num_pages == 1
        job = await many.job(f"{batch.id}-000000")
        assert (await job.image()).size == (64, 64)
        assert await batch.rate(2) == 4
        await job.rate(5)
        assert [job.rating async for job in batch.jobs()] == [5, 2, 0, 0, 2, 2]
        assert (await batch.report()).batch.num_rated == 4
        assert "1 batch" not in batch._repr_html_()
        assert "hand (cpu: tiny)" in many._repr_html_()

    with Drawer(hand):
        on_it(farm, use)


def test_a_batch_is_steered_and_the_farm_asked(farm: Farm, hand: FarmHand):
    async def use(many: AsyncFarm) -> None:
        name = await many.upload(hand_drawn())
        first = await many.submit({"prompt": "a", "init_image": name}, name="first")
        assert (await first.pause()).is_paused
        assert not (await first.resume()).is_paused
        assert (await first.set_priority(7)).priority == 7
        assert await first.cancel() == 1
        assert await first.retry(states=["cancelled"]) == 1
        assert [batch.name for batch in await many.batches(limit=1)] == ["first"]
        assert (await many.batch(first.id)).id == first.id
        assert [worker.id for worker in await many.workers()] == ["hand"]
        assert [card.name for card in await many.models()] == ["tiny"]
        assert [seen.card.name for seen in await many.seen_models()] == ["tiny"]
        assert [queue.model for queue in await many.queues()] == ["tiny"]
        assert (await many.matrix(sweep={"seed": [1, 2]})).is_plain is False

    on_it(farm, use)


def hand_drawn() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()


def test_errors_come_as_they_do_from_a_farm(farm: Farm, hand: FarmHand):
    async def use(many: AsyncFarm) -> None:
        with pytest.raises(InvalidRows, match="row 1: width is 63"):
            await many.submit([{"prompt": "a", "width": 63}])
        with pytest.raises(NotFound, match="there is no batch"):
            await many.batch("nosuch")
        batch = await many.submit(["a"])
        with pytest.raises(NotFound, match="has no picture: it is queued"):
            await (await anext(batch.jobs())).image()

    on_it(farm, use)


def test_more_batches_are_awaited_than_there_are_threads(farm: Farm, hand: FarmHand):
    async def use(many: AsyncFarm) -> list[int]:
        batches = [await many.submit(["a"]) for _ in range(12)]
        drawing = asyncio.get_running_loop().run_in_executor(None, hand.work_all)
        counts = await asyncio.gather(*(batch.wait() for batch in batches))
        await drawing
        return [each.succeeded for each in counts]

    assert on_it(farm, use, num_threads=2) == [1] * 12


def threads() -> int:
    return sum(thread.name.startswith("sigmafarm") for thread in threading.enumerate())


def test_a_cancelled_wait_ends_and_the_jobs_go_on(farm: Farm, hand: FarmHand):
    async def use(many: AsyncFarm) -> AsyncFarmBatch:
        batch = await many.submit(["a"])
        waits = [asyncio.ensure_future(wait) for wait in (batch.wait(), as_drawn(batch))]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(batch, 0.05)
        for wait in waits:
            wait.cancel()
        assert [type(each) for each in await asyncio.gather(*waits, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 2
        assert (await batch.counts()).queued == 1
        return batch

    async def as_drawn(batch: AsyncFarmBatch) -> None:
        async for _ in batch.images():
            pass

    batch = on_it(farm, use)

    assert farm.batch(batch.id).counts.queued == 1
    until(lambda: threads() == 0, "its threads have ended")


def test_a_cancelled_await_of_a_batch_of_farm_ends_too(farm: Farm, hand: FarmHand):
    async def use() -> None:
        batch = farm.submit(["a"])
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(batch, 0.05)

    asyncio.run(use())  # which waits for the threads that asyncio shares

    assert farm.batches()[0].counts.queued == 1


def test_a_submit_that_is_cancelled_between_two_rows_leaves_no_batch(farm: Farm, hand: FarmHand):
    begun, go_on = threading.Event(), threading.Event()

    def rows() -> Iterator[str]:
        yield "a"
        begun.set()
        go_on.wait(LIMIT_S)
        yield "b"

    async def use(many: AsyncFarm) -> None:
        submit = asyncio.ensure_future(many.submit(rows()))
        await asyncio.to_thread(begun.wait, LIMIT_S)
        submit.cancel()
        await asyncio.sleep(0)
        assert not submit.done(), "its thread is waited for"
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await submit

    on_it(farm, use)

    assert farm.batches() == []
    assert farm.queues() == [] or sum(farm.queues()[0].waiting.values()) == 0


def test_a_call_that_has_not_begun_never_does_once_it_is_cancelled(farm: Farm, hand: FarmHand):
    busy = threading.Event()

    def rows() -> Iterator[str]:
        busy.wait(LIMIT_S)
        yield "a"

    async def use(many: AsyncFarm) -> None:
        first, second = (asyncio.ensure_future(many.submit(each)) for each in (rows(), ["b"]))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        busy.set()
        await first

    on_it(farm, use, num_threads=1)

    assert [batch.counts.total for batch in farm.batches()] == [1]


def test_a_cancelled_download_ends_with_whole_files(farm: Farm, hand: FarmHand, tmp_path: Path):
    batch_id = farm.submit(["a"] * 8).id
    hand.work_all()
    seen, go_on = threading.Event(), threading.Event()

    def on_job(_: object) -> None:
        seen.set()
        go_on.wait(LIMIT_S)

    async def use(many: AsyncFarm) -> None:
        batch = await many.batch(batch_id)
        download = asyncio.ensure_future(batch.download(tmp_path / "out", num_threads=1, on_job=on_job))
        await asyncio.to_thread(seen.wait, LIMIT_S)
        download.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await download

    on_it(farm, use)

    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "manifest.jsonl" not in names
    assert not any(name.startswith(".partial") for name in names)


def test_one_farm_serves_one_event_loop_after_another(farm: Farm, hand: FarmHand):
    many = AsyncFarm(farm.config)

    for _ in range(2):
        assert [worker.id for worker in asyncio.run(many.workers())] == ["hand"]
    asyncio.run(many.close())
    assert len(asyncio.run(many.models())) == 1


def test_a_job_of_it_can_be_sent_to_another_process(farm: Farm, hand: FarmHand):
    async def use(many: AsyncFarm) -> bytes:
        batch = await many.submit(["a"])
        hand.work_all()
        return pickle.dumps(await anext(batch.jobs()))

    job = pickle.loads(on_it(farm, use))

    assert asyncio.run(job.image()).size == (64, 64)


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    yield
    until(lambda: threads() == 0, "no thread is left")


@pytest.mark.usefixtures("no_thread_left")
def test_threads_end_with_the_farm(farm: Farm, hand: FarmHand):
    async def use(many: AsyncFarm) -> int:
        await asyncio.gather(*(many.workers() for _ in range(20)))
        return threads()

    assert on_it(farm, use, num_threads=3) <= 3
