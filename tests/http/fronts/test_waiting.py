"""What a wait survives, and what it does not: Redis restarted under it, the server ended, a crowd."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import openai
import pytest

from sigmafarm import Config, Farm
from sigmafarm.http.fronts.openai import links
from sigmafarm.http.server import HttpServer
from sigmafarm_common.objects.s3 import S3Store
from sigmafarm_common.states import JobState
from tests.common.s3_servers import moto_server
from tests.farm_hand import Drawer, FarmHand
from tests.http.fronts.drawers import wait_for_batch, wait_for_listener, wait_for_state
from tests.limits import LIMIT_S, until
from tests.redis_server import RedisServer

BOAT = {"prompt": "a boat", "response_format": "b64_json"}


@pytest.fixture
def crashable(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis", has_aof=True)
    server.start()
    yield server
    server.stop()


def test_redis_restarted_under_a_waiting_client_does_not_end_its_wait(crashable: RedisServer, tmp_path: Path):
    config = Config(redis_url=crashable.url, data_dir=tmp_path / "data", http_port=0)
    with (
        Farm(config) as farm,
        HttpServer(config, has_keeper=False) as server,
        ThreadPoolExecutor() as pool,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=LIMIT_S, max_retries=0) as client,
    ):
        hand = FarmHand(farm)
        call = pool.submit(client.images.generate, prompt="a boat")
        batch = wait_for_batch(farm)
        until(lambda: farm.store.num_seats(batch.id), "the submit is answered, and the client's seat is taken")

        crashable.kill()
        crashable.start()
        until(hand.work, "the hand finds the job again")

        assert call.result(LIMIT_S).data
        assert farm.store.batch(batch.id).counts.succeeded == 1


@pytest.mark.parametrize("path", ["/v1/images/generations", "/sdapi/v1/txt2img"])
def test_a_request_whose_records_redis_lost_is_told_so_and_is_accepted_anew(
    crashable: RedisServer, tmp_path: Path, path: str
):
    config = Config(redis_url=crashable.url, data_dir=tmp_path / "data", http_port=0)
    with Farm(config) as farm, HttpServer(config, has_keeper=False) as server, ThreadPoolExecutor() as pool:
        FarmHand(farm)
        call = pool.submit(httpx2.post, f"{server.url}{path}", json=BOAT, timeout=LIMIT_S)
        wait_for_listener(server.app.state.site.feed)  # a batch is seen before its submit is answered
        crashable.kill()
        for file in (tmp_path / "redis" / "appendonlydir").iterdir():
            file.unlink()
        crashable.start()
        hand = FarmHand(farm)
        lost = call.result(LIMIT_S)
        with Drawer(hand):
            again = httpx2.post(f"{server.url}{path}", json=BOAT, timeout=LIMIT_S)

    assert lost.status_code == 503, lost.text
    assert "Redis has lost its newest writes" in lost.text
    assert "send it again" in lost.text
    assert again.status_code == 200


def test_a_server_that_ends_cancels_for_those_who_will_not_come_back(config: Config, farm: Farm, hand: FarmHand):
    server = HttpServer(config, has_keeper=False)
    server.start()
    with ThreadPoolExecutor() as pool:
        calls = [
            pool.submit(httpx2.post, f"{server.url}{path}", json=BOAT, timeout=LIMIT_S)
            for path in ("/sdapi/v1/txt2img", "/v1/images/generations")
        ]
        wait_for_listener(server.app.state.site.feed, 2)
        server.stop()
        answers = [call.result() for call in calls]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[1].headers["x-should-retry"] == "true"
    for batch in farm.batches():
        wait_for_state(farm, batch.id, JobState.CANCELLED)


def test_a_crowd_waits_without_a_thread_each(server: HttpServer, farm: Farm, hand: FarmHand):
    num = 100
    limits = httpx2.Limits(max_connections=num)
    with httpx2.Client(base_url=server.url, timeout=LIMIT_S, limits=limits) as http, ThreadPoolExecutor(num) as pool:
        calls = [pool.submit(http.post, "/v1/images/generations", json=BOAT) for _ in range(num)]
        until(lambda: server.app.state.site.feed.num_listeners == num, "all wait")
        with Drawer(hand):
            answers = [call.result() for call in calls]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["data"][0]["seed"] for answer in answers}) == num


def test_more_clients_than_a_server_holds_are_told_to_come_later(config: Config, farm: Farm, hand: FarmHand):
    with (
        HttpServer(config.replaced(max_streams=1), has_keeper=False) as server,
        httpx2.Client(base_url=server.url, timeout=LIMIT_S) as http,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(http.post, "/v1/images/generations", json=BOAT)
        wait_for_listener(server.app.state.site.feed)
        answer = http.post("/v1/images/generations", json=BOAT)
        hand.work_all()
        first.result(LIMIT_S)

    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-should-retry"]) == (429, "5", "true")


def test_a_picture_in_a_bucket_is_answered_with_the_buckets_own_link(config: Config, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "farm")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "opensesame")
    with moto_server() as s3_url:
        config = config.replaced(objects_url="s3://pictures/fronts", s3_endpoint_url=s3_url)
        with Farm(config) as farm, HttpServer(config, has_keeper=False) as server:
            assert isinstance(farm.objects, S3Store)
            farm.objects.make_bucket()
            with Drawer(FarmHand(farm)):
                answer = httpx2.post(f"{server.url}/v1/images/generations", json={"prompt": "a boat"}, timeout=LIMIT_S)
            link = answer.json()["data"][0]["url"]

            assert link.startswith(s3_url)
            assert f"X-Amz-Expires={links.LINK_S}" in link
            assert httpx2.get(link).headers["content-type"] == "image/png"
