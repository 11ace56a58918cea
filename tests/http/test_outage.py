"""Redis away, frozen or full, and the object store away: an answer within two seconds, and all is well again after."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from sigmafarm import Config, Farm, FarmBatch
from sigmafarm.http import readiness
from sigmafarm.http.circuit_breaker import API_TIMEOUT_S, REST_S, Breaker
from sigmafarm.http.readiness import Readiness
from sigmafarm.http.server import HttpServer
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.store.values import SCHEMA_VERSION
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S, until
from tests.promises import check_promise, seconds
from tests.redis_server import RedisServer

#: What the API promises.
PROMISE_S = 2.0
#: Every way in which the API takes a submission.
SUBMITS = (
    ("/v1/batches", {"prompts": ["a"]}),
    ("/v1/images/generations", {"prompt": "a"}),
    ("/sdapi/v1/txt2img", {"prompt": "a"}),
)
#: A crowd: how many requests, and how many of them at once.
NUM_REQUESTS, NUM_CLIENTS = 300, 150


@dataclass
class Place:
    redis: RedisServer
    server: HttpServer
    batch: FarmBatch
    http: httpx2.Client
    config: Config


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A farm on a server of its own, with one job drawn."""
    redis = RedisServer(tmp_path / "redis", has_aof=True)
    redis.start()
    config = Config(redis_url=redis.url, data_dir=tmp_path / "data", http_port=0)
    try:
        with (
            Farm(config) as farm,
            HttpServer(config) as server,
            httpx2.Client(base_url=server.url, timeout=LIMIT_S) as http,
        ):
            hand = FarmHand(farm)
            batch = farm.submit(["a"])
            until(lambda: farm.batch(batch.id).counts.total == 1, "it is there")
            del hand
            yield Place(redis, server, batch, http, config)
    finally:
        redis.stop()


def every_request(place: Place) -> list[tuple[str, str]]:
    """Every operation of the API, on the things of the farm."""
    names = {"{batch_id}": place.batch.id, "{job_id}": f"{place.batch.id}-000000", "{worker_id}": "hand"}
    found: list[tuple[str, str]] = []
    for path, methods in place.server.app.openapi()["paths"].items():
        if path == "/healthz" or path.startswith(("/v1/images", "/sdapi")):
            continue
        for name, value in names.items():
            path = path.replace(name, value)
        found += [(method.upper(), path) for method in methods if "{" not in path]
    return found


def answer(place: Place, method: str, path: str) -> httpx2.Response:
    body = (
        {"json": {"prompts": ["a"]}}
        if path == "/v1/batches"
        else {"json": {"priority": 1}}
        if method == "PATCH"
        else {}
    )
    return place.http.request(method, path, **(body if method != "GET" else {}))


def check_refused(place: Place, method: str, path: str) -> None:
    """A request is refused as it should be, and in time; the server's answer that asks nobody is the probe."""

    def took_s() -> float:
        began_s = time.monotonic()
        response = answer(place, method, path)
        ended_s = time.monotonic()
        assert response.status_code == 503, (method, path, response.text)
        assert set(response.json()) == {"code", "message", "fields", "retryable", "error"}
        assert response.json()["retryable"] is True
        return ended_s - began_s

    check_promise(PROMISE_S, took_s, lambda: seconds(lambda: place.http.get("/healthz")), f"{method} {path}")


def check_all_refused(place: Place) -> None:
    for method, path in every_request(place):
        check_refused(place, method, path)
    assert place.http.get("/healthz").status_code == 200


def test_redis_away_every_route_says_so_at_once_and_works_again_after(place: Place):
    place.redis.kill()

    check_all_refused(place)
    ready = place.http.get("/readyz").json()
    place.redis.start()

    assert [field["field"] for field in ready["fields"]] == ["redis", "workers"]
    assert "start it, or check SIGMAFARM_REDIS_URL" in ready["message"]
    until(lambda: place.http.get(f"/v1/batches/{place.batch.id}").status_code == 200, "it answers again")


def test_api_that_a_newer_program_has_overtaken_is_not_ready_and_says_what_its_submits_say(place: Place):
    with place.redis.client() as client:
        client.set("sigmafarm:schema", SCHEMA_VERSION + 1)

    ready, refused = place.http.get("/readyz"), place.http.post("/v1/batches", json={"prompts": ["a"]})

    assert (ready.status_code, refused.status_code) == (503, 503)
    assert ready.json()["fields"] == [{"field": "redis", "message": refused.json()["message"]}]


def test_redis_frozen_every_route_says_so_within_two_seconds(place: Place):
    place.redis.freeze()

    check_all_refused(place)
    place.redis.thaw()

    until(lambda: place.http.get(f"/v1/batches/{place.batch.id}").status_code == 200, "it answers again")


def test_redis_frozen_a_crowd_is_answered_within_two_seconds_too(place: Place):
    place.redis.freeze()
    limits = httpx2.Limits(max_connections=NUM_CLIENTS)
    with (
        ThreadPoolExecutor(NUM_CLIENTS) as pool,
        httpx2.Client(base_url=place.server.url, timeout=LIMIT_S, limits=limits) as crowd,
    ):

        def slowest_s(path: str, status: int) -> float:
            def ask(_: int) -> float:
                began_s = time.monotonic()
                assert crowd.get(path).status_code == status
                return time.monotonic() - began_s

            return max(pool.map(ask, range(NUM_REQUESTS)))

        refused_s, alive_s = lambda: slowest_s("/v1/batches", 503), lambda: slowest_s("/healthz", 200)
        check_promise(PROMISE_S, refused_s, alive_s, "an answer to each of a crowd")
    place.redis.thaw()


def test_a_full_redis_refuses_submits_and_still_shows_everything(place: Place):
    with place.redis.client() as client:
        client.config_set("maxmemory", 1)

        refused = place.http.post("/v1/batches", json={"prompts": ["a"]})
        shown = place.http.get(f"/v1/batches/{place.batch.id}")

    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert "give it memory" in refused.json()["message"]
    assert shown.status_code == 200


def test_replies_that_nobody_foresaw_are_unavailability(place: Place):
    with place.redis.client() as client:
        client.config_set("min-replicas-to-write", 1)
        refused = place.http.post("/v1/batches", json={"prompts": ["a"]})
        client.config_set("min-replicas-to-write", 0)

    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert "misses its replicas" in refused.json()["message"]
    assert refused.json()["retryable"] is True


def test_spoiled_records_hide_only_themselves(place: Place):
    paths = (
        "/v1/batches",
        "/v1/workers",
        "/v1/models",
        "/v1/farm",
        "/",
        "/workers",
        f"/v1/batches/{place.batch.id}/jobs",
    )
    with place.redis.client() as client:
        client.set("sigmafarm:worker:w1", "null")
        client.zadd("sigmafarm:workers", {"w1": 9e15})
        client.hset("sigmafarm:models", "spoiled", "[]")
        spoiled = [place.http.get(path).status_code for path in paths]
        submitted = place.http.post("/v1/batches", json={"prompts": ["a"]}).status_code
        for name in ("batches", "workers", "totals", "models", "pace", "queue_models", "events"):
            client.delete(f"sigmafarm:{name}")
            client.set(f"sigmafarm:{name}", "of another kind")
        strange = [place.http.get(path).status_code for path in paths]

    assert (set(spoiled), submitted, set(strange)) == ({200}, 201, {200})


def test_no_submit_is_accepted_by_a_server_that_evicts(config: Config, tmp_path: Path):
    redis = RedisServer(tmp_path / "redis", options=("--maxmemory-policy", "allkeys-lru"))
    redis.start()
    try:
        unsafe = config.replaced(redis_url=redis.url)
        FarmHand(Farm(unsafe))
        with HttpServer(unsafe, has_keeper=False) as server:
            answers = [httpx2.post(server.url + path, json=body, timeout=LIMIT_S) for path, body in SUBMITS]
    finally:
        redis.stop()

    assert {answer.status_code for answer in answers} == {503}
    assert all("noeviction" in answer.text for answer in answers)


def test_an_object_store_that_cannot_be_written_is_what_readiness_names(config: Config, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with HttpServer(config.replaced(objects_url=str(tmp_path / "file")), has_keeper=False) as server:
        response = httpx2.get(server.url + "/readyz")

    assert response.status_code == 503
    assert response.json()["code"] == "not_ready"
    assert [field["field"] for field in response.json()["fields"]] == ["objects"]


class _SlowObjects:
    """An object store that answers when it is told to, and counts who asks."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.num_asked = 0

    def check(self) -> None:
        self.num_asked += 1
        self.answer.wait(LIMIT_S)


def test_an_object_store_that_does_not_answer_holds_up_nobody(place: Place, monkeypatch: pytest.MonkeyPatch):
    objects: Any = _SlowObjects()
    monkeypatch.setattr(readiness, "OBJECTS_WAIT_S", 0.1)
    looks = Readiness(Farm(place.config).store, lambda: objects, SystemClock())

    first, second = looks.look(), looks.look()
    objects.answer.set()
    until(lambda: all(check.is_ok for check in looks.look()), "the answer came")

    assert [[check.is_ok for check in checks] for checks in (first, second)] == [[True, False, True]] * 2
    assert "no answer within 0.1 s" in first[1].message
    assert objects.num_asked == 1


# -- the breaker


class _Hands(SystemClock):
    """A clock that is moved by hand."""

    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s


def is_refused(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except RedisTimeoutError:
        return True
    return False


def elsewhere(breaker: Breaker) -> bool:
    """Ask from another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(is_refused, breaker).result()


def test_the_breaker_lets_one_thread_try_after_a_rest():
    clock = _Hands()
    breaker = Breaker(clock)
    assert not is_refused(breaker)

    breaker.trip()
    assert is_refused(breaker)
    clock.now_s += REST_S
    assert not is_refused(breaker)
    assert not is_refused(breaker)
    assert elsewhere(breaker)
    breaker.reset()
    assert not elsewhere(breaker)


def test_a_thread_that_tries_and_never_comes_back_is_followed_by_another():
    clock = _Hands()
    breaker = Breaker(clock)
    breaker.trip()
    clock.now_s += REST_S
    assert not elsewhere(breaker)

    assert is_refused(breaker)
    clock.now_s += API_TIMEOUT_S + REST_S

    assert not is_refused(breaker)
