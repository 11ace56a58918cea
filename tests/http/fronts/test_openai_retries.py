"""Clients that leave, and clients that come back: nobody's work is done twice, and none for nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import openai
import pytest

from sigmafarm import Config, Farm
from sigmafarm.http.fronts import lobby
from sigmafarm.http.fronts.openai import retries
from sigmafarm.http.server import HttpServer
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Claim
from tests.farm_hand import Drawer, FarmHand
from tests.http.fronts.drawers import ask_and_leave, wait_for_batch, wait_for_state
from tests.limits import LIMIT_S, until

PATH, FIRST, AGAIN = "/v1/images/generations", {"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "1"}
BOAT = {"prompt": "a boat", "response_format": "url"}


@pytest.fixture(autouse=True)
def _models(hand: FarmHand) -> None:
    """The farm knows a model before anybody asks."""


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "GRACE_S", 0.2)
    monkeypatch.setattr(lobby, "WAY_S", 0.0)
    monkeypatch.setattr(lobby, "FIRST_PAUSE_S", 0.2)


def leave_early(server: HttpServer, farm: Farm, num: int, headers: dict[str, str]) -> None:
    ask_and_leave(server, farm, PATH, BOAT, headers, num)


def claim_one(farm: Farm, hand: FarmHand) -> list[Claim]:
    """Let the hand begin with the job of a batch that is about to come."""
    wait_for_batch(farm)
    return hand.claim()


def background(call: Callable[[], httpx2.Response]) -> Future[httpx2.Response]:
    future: Future[httpx2.Response] = Future()
    threading.Thread(target=lambda: future.set_result(call()), daemon=True).start()
    return future


def test_a_client_that_leaves_has_its_jobs_cancelled_at_once(server: HttpServer, farm: Farm, hand: FarmHand):
    leave_early(server, farm, 1, {})

    wait_for_state(farm, farm.batches()[0].id, JobState.CANCELLED)
    assert hand.work() == 0


def test_a_client_that_could_come_back_and_does_not_has_them_cancelled_after_its_time(
    server: HttpServer, farm: Farm, short_grace: None
):
    leave_early(server, farm, 1, FIRST)

    wait_for_state(farm, farm.batches()[0].id, JobState.CANCELLED)


def test_a_stream_that_is_left_has_its_jobs_cancelled(client: openai.OpenAI, farm: Farm, short_grace: None):
    stream = client.images.generate(prompt="a boat", stream=True)
    stream.close()

    wait_for_state(farm, farm.batches()[0].id, JobState.CANCELLED)


def test_a_client_that_times_out_and_tries_again_gets_the_picture_of_its_first_try(
    server: HttpServer, farm: Farm, hand: FarmHand
):
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=0.7, max_retries=8) as client,
        ThreadPoolExecutor() as pool,
    ):
        call = pool.submit(client.images.generate, prompt="a boat", response_format="url")
        (claim,) = claim_one(farm, hand)
        until(lambda: not server.app.state.site.feed.num_listeners, "the client gave up")
        hand._finish(claim)
        answer = call.result(LIMIT_S)

    (batch,) = farm.batches()
    job = farm.job(claim.job_id)
    assert answer.data is not None
    assert answer.data[0].model_extra == {"seed": job.request.seed}
    assert (job.fence, batch.counts.succeeded) == (1, 1)


def test_one_slow_picture_outlasts_a_client_that_times_out_again_and_again(
    server: HttpServer, farm: Farm, hand: FarmHand
):
    tries: list[object] = []
    own = openai.DefaultHttpxClient(event_hooks={"request": [tries.append]})
    with (
        openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="none", timeout=1.5, max_retries=8, http_client=own
        ) as client,
        ThreadPoolExecutor() as pool,
    ):
        call = pool.submit(client.images.generate, prompt="a boat", response_format="url")
        (claim,) = claim_one(farm, hand)
        until(lambda: len(tries) == 4, "the client tries for the fourth time")
        hand._finish(claim)
        answer = call.result(LIMIT_S)

    (batch,) = farm.batches()
    assert answer.data is not None
    assert (farm.job(claim.job_id).fence, batch.counts.succeeded) == (1, 1)
    assert "job.cancelled" not in [event.kind for event in farm.store.events(after="0", limit=1000)]


def test_a_client_that_comes_back_to_another_process_is_not_cancelled_by_the_one_that_it_left(
    server: HttpServer, config: Config, farm: Farm, hand: FarmHand, short_grace: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "CANCELLED_LATE_S", 0.0)
    with HttpServer(config, has_keeper=False) as other, ThreadPoolExecutor() as pool:
        leave_early(server, farm, 1, FIRST)
        again = pool.submit(httpx2.post, other.url + PATH, json=BOAT, headers=AGAIN, timeout=LIMIT_S)
        until(lambda: other.app.state.site.feed.num_listeners, "the retry waits at the other process")
        until(lambda: not server.app.state.lobby._timers, "the timer of the process that it left is over")
        hand.work()
        answer = again.result(LIMIT_S)

    assert answer.status_code == 200, answer.text
    assert farm.batches()[0].counts.succeeded == 1


def test_a_retry_that_comes_after_the_cancel_goes_on_with_the_same_batch(
    server: HttpServer, farm: Farm, hand: FarmHand, http: httpx2.Client, short_grace: None
):
    leave_early(server, farm, 1, FIRST)
    wait_for_state(farm, farm.batches()[0].id, JobState.CANCELLED)

    with Drawer(hand):
        assert http.post(PATH, json=BOAT, headers=AGAIN).status_code == 200

    assert len(farm.batches()) == 1


def test_a_retry_whose_first_try_is_cancelled_late_by_another_process_goes_on(
    server: HttpServer, farm: Farm, hand: FarmHand, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "CANCELLED_LATE_S", 60.0)
    leave_early(server, farm, 1, FIRST)
    batch_id = farm.batches()[0].id

    again = background(lambda: http.post(PATH, json=BOAT, headers=AGAIN))
    until(lambda: server.app.state.site.feed.num_listeners, "the retry waits")
    farm.store.cancel_batch(batch_id)
    wait_for_state(farm, batch_id, JobState.QUEUED)
    hand.work()

    assert again.result(LIMIT_S).status_code == 200
    assert len(farm.batches()) == 1


def test_two_equal_requests_that_broke_come_back_each_to_its_own(
    server: HttpServer, farm: Farm, hand: FarmHand, http: httpx2.Client
):
    for num in (1, 2):
        leave_early(server, farm, num, FIRST)

    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(http.post, PATH, json=BOAT, headers=AGAIN) for _ in range(2)]
        until(lambda: server.app.state.site.feed.num_listeners == 2, "both wait")
        hand.work()
        seeds = {call.result().json()["data"][0]["seed"] for call in calls}

    assert len(seeds) == len(farm.batches()) == 2


def test_a_retry_whose_first_try_never_arrived_is_not_answered_with_an_older_equal_one(
    farm: Farm, hand: FarmHand, http: httpx2.Client
):
    with Drawer(hand):
        old = http.post(PATH, json=BOAT, headers=FIRST).json()
        new = http.post(PATH, json=BOAT, headers=AGAIN).json()

    assert old["data"][0]["seed"] != new["data"][0]["seed"]


def test_a_server_that_is_restarted_goes_on_with_the_same_batch(config: Config, farm: Farm, hand: FarmHand):
    first = HttpServer(config, has_keeper=False)
    first.start()
    port = first.port
    client = openai.OpenAI(base_url=f"{first.url}/v1", api_key="none", timeout=LIMIT_S, max_retries=8)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(client.images.generate, prompt="a boat", response_format="url")
        wait_for_batch(farm)
        first.stop()
        with HttpServer(config.replaced(http_port=port), has_keeper=False):
            hand.work()
            assert call.result(LIMIT_S).data

    assert [batch.counts.succeeded for batch in farm.batches()] == [1]


def test_an_idempotency_key_gives_one_batch_for_one_body(farm: Farm, hand: FarmHand, http: httpx2.Client):
    key = {"Idempotency-Key": "order-7"}

    with Drawer(hand):
        answers = [http.post(PATH, json=BOAT, headers=key).json() for _ in range(2)]
        http.post(PATH, json={**BOAT, "n": 2}, headers=key)

    assert answers[0]["data"][0]["seed"] == answers[1]["data"][0]["seed"]
    assert [batch.counts.total for batch in farm.batches()] == [2, 1]
