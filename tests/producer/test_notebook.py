"""The farm in a real notebook kernel: the live bar, what cells show, awaiting in a loop that runs already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from sigmafarm import Config, Farm
from sigmafarm_common.store.values import Claim
from tests.farm_hand import FarmHand
from tests.kernel import Cell, Kernel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    env = {
        **os.environ,
        "SIGMAFARM_REDIS_URL": redis_url,
        "SIGMAFARM_DATA_DIR": str(folder / "data"),
        "SIGMAFARM_DASHBOARD_URL": "http://farm.example/",
        "PYTHONWARNINGS": "error",
    }
    with Kernel(folder, env) as kernel:
        cell = kernel.run("from sigmafarm import AsyncFarm, Farm\nfarm = Farm.from_env()")
        assert cell.raised is None
        yield kernel


@pytest.fixture
def hand(
    redis_client: redis.Redis, redis_url: str, kernel: Kernel, tmp_path_factory: pytest.TempPathFactory
) -> FarmHand:
    """A hand whose pictures lie where the kernel looks for them."""
    folder = kernel.run("print(farm.config.data_dir)").printed.strip()
    return FarmHand(Farm(Config(redis_url=redis_url, data_dir=Path(folder))))


def draws_as_it_is_seen(hand: FarmHand) -> Callable[[Cell], None]:
    """Return what draws one more job whenever the notebook shows that the one before is drawn."""
    claims: list[Claim] = []
    num_drawn = 0

    def on_news(cell: Cell) -> None:
        nonlocal num_drawn
        if cell.states and f": {num_drawn} of " in cell.states[-1]:
            claims.extend(hand.claim())
            if claims:
                hand._finish(claims.pop(0))
                num_drawn += 1

    return on_news


def test_a_wait_draws_a_live_bar_and_leaves_its_end_standing(kernel: Kernel, hand: FarmHand):
    cell = kernel.run(
        "batch = farm.submit(['a', 'b', 'fail c'], name='n')\nbatch.wait(progress=True)", draws_as_it_is_seen(hand)
    )

    assert cell.raised is None
    assert cell.errors == ""
    seen = [state.split(": ", 1)[1].split(",")[0] for state in cell.states]
    assert [*dict.fromkeys(seen)] == ["0 of 3", "1 of 3", "2 of 3", "3 of 3"]
    (bar,) = cell.displays
    assert "3 of 3, 100%, 0 running, 1 failed" in bar["text/html"]
    assert "width:66.67%" in bar["text/html"]
    assert "succeeded=2" in cell.value["text/plain"]


def test_a_wait_in_asyncio_draws_the_same_bar(kernel: Kernel, hand: FarmHand):
    code = (
        "async with AsyncFarm.from_env() as many:\n"
        "    batch = await many.submit(['a', 'b'])\n"
        "    counts = await batch.wait(progress=True)\n"
        "    drawn = [(job.row, image.size) async for job, image in batch.images()]\n"
        "counts.succeeded, drawn, (await batch).total"
    )

    cell = kernel.run(code, draws_as_it_is_seen(hand))

    assert cell.raised is None
    assert len(cell.displays) == 1
    assert "2 of 2" in cell.states[-1]
    assert cell.value["text/plain"] == "(2, [(0, (64, 64)), (1, (64, 64))], 2)"


def test_a_wait_that_is_interrupted_leaves_the_batch_alone(kernel: Kernel, hand: FarmHand):
    def interrupt(cell: Cell) -> None:
        if cell.states:
            kernel.interrupt()

    cell = kernel.run("batch = farm.submit(['a'])\nbatch.wait(progress=True)", interrupt)
    after = kernel.run("batch.counts.queued, batch.cancel()")

    assert cell.raised is not None
    assert cell.raised[0] == "KeyboardInterrupt"
    assert after.value["text/plain"] == "(1, 1)"


def test_why_nothing_is_drawn_is_said_beside_the_bar(kernel: Kernel, hand: FarmHand):
    hand.farm.store.forget_worker(hand.info.id)

    cell = kernel.run(
        "from sigmafarm import waiting\nwaiting.IDLE_LOOK_S = 0.1\n"
        "batch = farm.submit(['a'])\nbatch.wait(progress=True, timeout_s=1); batch.cancel()"
    )

    assert cell.raised is None
    assert cell.errors == ""
    assert "no worker takes jobs for tiny: none lives" in " ".join(str(cell.displays).split())


def test_cells_show_a_farm_a_batch_and_a_job(kernel: Kernel, hand: FarmHand):
    kernel.run("batch = farm.submit(['<b>a</b>', 'fail b'], name='first <i>')")
    hand.work_all()

    farm, batch, job = (kernel.run(code).value["text/html"] for code in ("farm", "batch", "next(batch.jobs())"))

    assert "hand (cpu: tiny)" in farm
    assert "pictures a second" in farm
    assert "first &lt;i&gt;" in farm
    assert '<a href="http://farm.example/"' in farm
    assert '<a href="http://farm.example/batches/' in batch
    assert "1 succeeded, 1 failed of 2" in batch
    assert batch.count("<img ") == 1
    assert '<a href="http://farm.example/jobs/' in job
    assert job.count("<img ") == 1
    assert "&lt;b&gt;a&lt;/b&gt;" in job
    assert ">64 px</td>" in job
    failed = kernel.run("[*batch.jobs()][1]").value["text/html"]
    assert "render_failed: no luck" in failed
    assert "<img " not in failed


def test_an_error_ends_in_its_sentence(kernel: Kernel, hand: FarmHand):
    cell = kernel.run("farm.submit([{'prompt': 'a', 'width': 63}])")

    assert cell.raised is not None
    name, text = cell.raised
    assert name == "InvalidRows"
    assert "row 1: width is 63" in text
