"""Real workers beside a Redis that refuses, misses its replicas, or fails over: no job pays for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigmafarm_common.errors import StoreUnavailable
from tests.chaos.chaos_farm import ChaosFarm, until
from tests.redis_server import RedisServer
from tests.sentinel import SentinelTrio

MakeFarm = Callable[..., ChaosFarm]

#: For how long Redis refuses writes at a time, and takes them.
FLAP_S = 0.15
USER = ("ACL", "SETUSER", "ann", "on", ">p", "~*", "&*", "+@all")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis", has_aof=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[SentinelTrio]:
    trio = SentinelTrio(tmp_path / "trio", password="p/w")
    trio.start()
    yield trio
    trio.stop()


@pytest.fixture
def make_farm(tmp_path: Path) -> Iterator[MakeFarm]:
    farms: list[ChaosFarm] = []

    def make(url: str, **settings: object) -> ChaosFarm:
        (tmp_path / "farm").mkdir()
        farms.append(ChaosFarm(tmp_path / "farm", redis_url=url, **settings))
        return farms[-1]

    yield make
    for farm in farms:
        farm.close()


@pytest.mark.parametrize("taken", ["-brpop", "-llen", "-zadd", "resetkeys ~sigmafarm:*"])
def test_worker_that_may_not_look_into_its_queue_says_so_and_ends_with_code_3(
    server: RedisServer, make_farm: MakeFarm, taken: str
) -> None:
    with server.client() as client:
        client.execute_command(*USER, *taken.split())
    farm = make_farm(server.url.replace("://", "://ann:p@"))

    code = farm.start_worker().wait()

    assert code == 3
    assert "sigmafarm worker: Redis refuses our credentials" in farm.logs()
    assert "Traceback" not in farm.logs()


def test_worker_whose_rights_are_taken_for_a_while_says_so_and_goes_on_when_they_are_back(
    server: RedisServer, make_farm: MakeFarm
) -> None:
    with server.client() as client:
        client.execute_command(*USER)
    farm = make_farm(server.url.replace("://", "://ann:p@"))
    (worker,) = farm.start_workers(1)
    first = farm.submit(2)
    farm.end_and_check(first)

    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "ann", "-brpop")
        client.client_kill_filter(_type="normal", skipme=True)
        until(lambda: "worker is refused, it tries again" in farm.logs(), "the worker says so")
        client.execute_command("ACL", "SETUSER", "ann", "+brpop")
    second = farm.submit(2)

    farm.end_and_check(second)
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]


def test_replicas_that_come_and_go_cost_no_job_a_try(server: RedisServer, make_farm: MakeFarm) -> None:
    """Of 150 innocent jobs, 5 failed for good at their first try: NOREPLICAS was no answer that anybody knew."""
    farm = make_farm(server.url)
    farm.start_workers(2)
    batch_id, is_over = farm.submit(60), threading.Event()

    def flap() -> None:
        with server.client() as client:
            while not is_over.wait(FLAP_S):
                client.config_set("min-replicas-to-write", 1)
                is_over.wait(FLAP_S)
                client.config_set("min-replicas-to-write", 0)

    flapping = threading.Thread(target=flap)
    flapping.start()
    try:
        farm.wait_for_batch(batch_id)
    finally:
        is_over.set()
        flapping.join()

    farm.end_and_check(batch_id)
    assert {(job.attempts, job.losses) for job in farm.jobs(batch_id)} == {(0, 0)}
    assert "NOREPLICAS" in farm.logs()


def test_failover_of_sentinels_is_survived_by_workers_producers_and_the_api(
    trio: SentinelTrio, make_farm: MakeFarm
) -> None:
    farm = make_farm(trio.url.replace("p/w", "p%2Fw"))
    (worker,) = farm.start_workers(1)
    api = farm.start_api()
    batch_id = farm.submit_and_draw(20, 4, num_inference_steps=100)
    until(trio.is_in_step, "the replica has all")

    trio.primary.kill()
    later: list[str] = []
    until(lambda: submitted(farm, later), "the next primary takes a submit")
    until(lambda: api.client.get(f"/v1/batches/{batch_id}").status_code == 200, "the API has found it too")

    farm.end_and_check(batch_id, *later)
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]


def submitted(farm: ChaosFarm, batches: list[str]) -> bool:
    try:
        batches.append(farm.submit(4))
    except StoreUnavailable:
        return False
    return True
