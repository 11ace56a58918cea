"""Progress, interrupt, skip: of the caller's own requests, whatever else the farm draws."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import webuiapi
from PIL import Image

from sigmafarm import Config, Farm
from sigmafarm.figures import cost_per_s
from sigmafarm.http.server import HttpServer
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Beat, Preview
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.http.fronts.drawers import ask_and_leave, wait_for_batch, wait_for_state
from tests.limits import LIMIT_S

IDLE = {"job_count": 0, "job_no": 0, "sampling_step": 0}


@pytest.fixture
def api(server: HttpServer, hand: FarmHand) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port)


@pytest.fixture
def pool(farm: Farm) -> Iterator[ThreadPoolExecutor]:
    """Threads that ask. What a test that failed left them waiting for is cancelled: they would wait for minutes."""
    with ThreadPoolExecutor() as pool:
        yield pool
        for batch in farm.batches():
            farm.store.cancel_batch(batch.id)


def asked(pool: ThreadPoolExecutor, api: webuiapi.WebUIApi, farm: Farm, **said: object) -> Future[object]:
    """Ask for pictures in a thread; return when their batch is there, behind those that are."""
    num_before = len(farm.batches())
    call = pool.submit(api.txt2img, prompt="a boat", width=64, height=64, steps=20, **said)
    wait_for_batch(farm, num_before + 1)
    return call


def test_a_client_follows_its_request_until_there_is_none(
    api: webuiapi.WebUIApi, farm: Farm, hand: FarmHand, pool: ThreadPoolExecutor
):
    farm.submit([f"somebody else's {n}" for n in range(3)], name="a batch")
    assert api.get_progress()["progress"] == 0.0
    call = pool.submit(api.txt2img, prompt="a boat", width=64, height=64, steps=20)
    batch = wait_for_batch(farm, 2)
    claims = {claim.batch_id: claim for claim in hand.claim()}
    claim = claims[batch.id]
    assert api.get_progress()["progress"] == 0.01

    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "WEBP")
    farm.store.show([Preview(claim.job_id, claim.fence, 10, file.getvalue())])
    seen = api.get_progress()
    hand._finish(claim)
    call.result(LIMIT_S)
    api.util_wait_for_ready(check_interval=0.05)

    assert (seen["progress"], seen["state"]["job_count"], seen["state"]["sampling_step"]) == (0.5, 1, 10)
    assert Image.open(io.BytesIO(base64.b64decode(seen["current_image"]))).size == (64, 64)
    assert {name: api.get_progress()["state"][name] for name in IDLE} == IDLE


def test_interrupt_answers_with_what_is_drawn_and_leaves_others_alone(
    api: webuiapi.WebUIApi, farm: Farm, hand: FarmHand, pool: ThreadPoolExecutor
):
    call = asked(pool, api, farm, n_iter=3)
    others = farm.submit(["somebody else's"])
    claims = [claim for claim in hand.claim() if claim.batch_id != others.id]
    hand._finish(claims[0])

    assert api.interrupt() == {}

    result = call.result(LIMIT_S)
    assert len(result.images) == 1
    assert len(result.info["all_seeds"]) == 1
    assert others.counts.cancelled == 0


def test_skip_goes_on_with_the_next_picture(
    api: webuiapi.WebUIApi, farm: Farm, hand: FarmHand, pool: ThreadPoolExecutor
):
    call = asked(pool, api, farm, n_iter=2)

    assert api.skip() is None
    hand.work()

    assert len(call.result(LIMIT_S).images) == 1
    assert [job.state for job in farm.batch(farm.batches()[0].id).jobs()] == [JobState.CANCELLED, JobState.SUCCEEDED]


def test_a_client_that_leaves_has_its_jobs_cancelled(server: HttpServer, farm: Farm, hand: FarmHand):
    ask_and_leave(server, farm, "/sdapi/v1/txt2img", {"prompt": "a boat"}, {})

    wait_for_state(farm, farm.batches()[0].id, JobState.CANCELLED)


def test_each_key_sees_and_interrupts_its_own(config: Config, farm: Farm, hand: FarmHand, pool: ThreadPoolExecutor):
    keys = [add_key(farm, "ann")[1]["Authorization"].removeprefix("Bearer ") for _ in range(2)]
    with HttpServer(config, has_keeper=False) as server:
        first, second = (webuiapi.WebUIApi(port=server.port, username="key", password=key) for key in keys)
        call = pool.submit(first.txt2img, prompt="a boat", width=64, height=64)
        wait_for_batch(farm)

        assert second.get_progress()["state"]["job_count"] == 0
        second.interrupt()
        assert first.get_progress()["state"]["job_count"] == 1
        first.interrupt()

        assert call.result(LIMIT_S).images == []


def test_what_waits_is_foretold_by_the_farms_pace(
    api: webuiapi.WebUIApi, farm: Farm, hand: FarmHand, pool: ThreadPoolExecutor
):
    farm.submit(["drawn before"], defaults={"num_inference_steps": 40})
    hand.work_all()
    farm.submit([f"ahead {n}" for n in range(9)], defaults={"num_inference_steps": 40})
    call = asked(pool, api, farm)
    pace = cost_per_s(farm.store.pace())

    first, second = (api.get_progress()["eta_relative"] for _ in range(2))

    ahead = sum(queue.open_cost for queue in farm.queues())
    assert first == second == pytest.approx(ahead / pace, rel=0.01)
    hand.work_all()
    call.result(LIMIT_S)


def test_what_is_begun_is_foretold_by_its_own_steps_and_says_that_it_is_drawn_anew(
    api: webuiapi.WebUIApi, farm: Farm, hand: FarmHand, pool: ThreadPoolExecutor
):
    call = asked(pool, api, farm)
    (claim,) = hand.claim()
    farm.store.renew(hand.info, [Beat(claim.job_id, claim.fence, 10, has_moved=True)])
    started_ms = farm.job(claim.job_id).started_ms

    left_s, at_ms = api.get_progress()["eta_relative"], farm.store.now_ms()

    assert 0 <= left_s <= (at_ms - started_ms) / 1000 + 0.1, "half is done: as long as it took"
    assert api.get_progress()["textinfo"] is None
    farm.store.fail(claim.job_id, claim.fence, code="render_failed", message="the device fell off", retryable=True)
    seen = api.get_progress()
    assert seen["textinfo"] == "drawn anew: the device fell off"
    farm.store.cancel_batch(claim.batch_id)
    call.result(LIMIT_S)
