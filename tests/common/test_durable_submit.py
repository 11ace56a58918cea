"""Submits that are answered when they are on the server's disk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigmafarm import Config, Farm, ModelCard
from sigmafarm_common.doctor.examination import examine
from sigmafarm_common.errors import StoreUnavailable, UnsafeServer
from sigmafarm_common.finding import Grade
from sigmafarm_common.store.redis.disk_watch import LOOK_S, SYNC_S, DiskWatch
from sigmafarm_common.store.redis.server_findings import ServerFacts, answers_too_soon, durability_findings, read_server
from tests.chaos.cut_file import crash_and_cut, num_written
from tests.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis", has_aof=True, options=("--appendfsync", "everysec"))
    server.start()
    yield server
    server.stop()


def opened(server: RedisServer, **settings: object) -> Farm:
    farm = Farm(Config(redis_url=server.url, durable_submit=True, data_dir=server.folder, **settings))
    farm.store.register_models([ModelCard(name="m", defaults={"height": 64, "width": 64})])
    return farm


def num_calls(server: RedisServer, command: str) -> int:
    with server.client() as client:
        return client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


def num_waits(server: RedisServer) -> int:
    return num_calls(server, "waitaof")


def test_what_was_answered_outlives_a_file_that_was_cut_anywhere_behind_it(server: RedisServer) -> None:
    with opened(server) as farm:
        kept = farm.submit([f"a job {n}" for n in range(20)], idempotency_key="kept")
        on_disk = num_written(server)
        assert num_waits(server) == 1
        farm.store.register_models([ModelCard(name="m", defaults={"height": 128, "width": 64})])

        seed = random.randrange(10**9)
        lost = crash_and_cut(server, on_disk, seed)

        assert len(list(kept.jobs())) == 20, f"cut by {lost} bytes, seed {seed}"
        assert kept.counts.queued == 20
        assert farm.submit([f"a job {n}" for n in range(20)], idempotency_key="kept").id == kept.id


def info(*, to_write: int = 0, num_syncs: int = 0, num_late: int = 0) -> dict[str, int]:
    return {"aof_buffer_length": to_write, "aof_pending_bio_fsync": num_syncs, "aof_delayed_fsync": num_late}


@pytest.mark.parametrize(
    ("looks", "is_on_disk"),
    [
        ([(0.0, info()), (1.0, info())], False),  # written; the next sync may be yet to come
        ([(0.0, info()), (1.2, info(num_syncs=1))], False),  # it has begun
        ([(0.0, info()), (1.2, info(num_syncs=1)), (1.3, info())], True),  # and is through
        ([(0.0, info(num_syncs=1)), (0.1, info()), (1.2, info())], True),
        ([(0.0, info(to_write=9)), (0.9, info()), (1.9, info())], False),  # the time counts from when all is written
        ([(0.0, info(to_write=9)), (0.9, info()), (2.1, info())], True),
        ([(0.0, info()), (0.5, info(to_write=9)), (1.2, info())], False),
        ([(0.0, info()), (0.9, info(num_late=1)), (1.2, info(num_late=1))], False),  # a sync was skipped meanwhile
    ],
)
def test_disk_has_what_was_written_when_a_sync_that_began_after_it_is_through(
    looks: list[tuple[float, dict[str, int]]], is_on_disk: bool
) -> None:
    watch = DiskWatch()

    seen = [watch.is_on_disk(said, now_s) for now_s, said in looks]

    assert seen == [False] * (len(looks) - 1) + [is_on_disk]


@pytest.mark.parametrize(
    ("said", "settings", "is_too_soon"),
    [
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, {"appendfsync": "everysec"}, True),
        ({"redis_version": "7.4.2"}, {"appendfsync": "everysec"}, True),
        ({"redis_version": "8.2.3"}, {"appendfsync": "everysec"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, {"appendfsync": "always"}, False),
        ({}, {}, True),
    ],
)
def test_disk_is_watched_where_the_servers_own_word_comes_too_soon(
    said: dict[str, str], settings: dict[str, str], is_too_soon: bool
) -> None:
    assert answers_too_soon(ServerFacts(said, settings)) is is_too_soon


def test_submit_watches_the_disk_of_a_server_whose_word_comes_too_soon(server: RedisServer) -> None:
    with opened(server) as farm, server.client() as client:
        before = num_calls(server, "info")

        farm.submit("a")

        num_looks = num_calls(server, "info") - before
        is_too_soon = answers_too_soon(read_server(client))
    assert (num_looks > SYNC_S / LOOK_S / 4) is is_too_soon


def test_the_same_key_again_waits_too(server: RedisServer) -> None:
    with opened(server) as farm:
        first = farm.submit("a", idempotency_key="k")
        before = num_waits(server)

        assert farm.submit("a", idempotency_key="k").id == first.id
        assert num_waits(server) == before + 1


def test_a_farm_that_does_not_ask_for_it_does_not_wait(server: RedisServer) -> None:
    with opened(server) as farm, Farm(farm.config.replaced(durable_submit=False)) as other:
        other.submit("a")

    assert num_waits(server) == 0


def test_doctor_says_that_submits_wait_for_the_disk_where_they_do(server: RedisServer) -> None:
    with opened(server) as farm:
        for config, said in ((farm.config, [Grade.OK]), (farm.config.replaced(durable_submit=False), [])):
            findings = examine(config, lambda: farm.store, lambda: farm.objects, bundled=None)  # type: ignore[arg-type]

            assert [each.grade for each in findings if each.subject == "Redis durability"] == said


def test_a_disk_that_does_not_answer_in_time_is_said_and_the_batch_is_there(server: RedisServer) -> None:
    with opened(server, redis_timeout_s=1.0) as farm:
        farm.submit("a")
        with server.client() as client:
            client.config_set("appendfsync", "no")  # from here on the server flushes nothing by itself

        with pytest.raises(StoreUnavailable, match=r"accepted, but Redis has not written it .* same idempotency key"):
            farm.submit("b", idempotency_key="k")

        assert len(list(farm.batches())) == 2


@pytest.mark.parametrize(
    ("option", "words"),
    [(("--appendonly", "no"), "set appendonly yes"), (("--appendfsync", "no"), "set it to everysec or always")],
)
def test_a_server_that_cannot_is_refused_before_anything_is_accepted(
    tmp_path: Path, option: tuple[str, ...], words: str
) -> None:
    server = RedisServer(tmp_path / "redis", has_aof=True, options=option)
    server.start()
    try:
        with opened(server) as farm:
            with pytest.raises(UnsafeServer, match=words):
                farm.submit("a")
            assert list(farm.batches()) == []
    finally:
        server.stop()


def test_a_server_without_the_command_is_named_and_one_that_hides_its_version_is_tried() -> None:
    old = list(durability_findings(ServerFacts({"redis_version": "7.0.15", "aof_enabled": 1}, {})))

    assert [each.grade for each in old] == [Grade.FAIL]
    assert "7.0.15 cannot tell what is on its disk" in old[0].message
    assert list(durability_findings(ServerFacts({}, {}))) == []
    assert list(durability_findings(ServerFacts({"redis_version": "7.2.4", "aof_enabled": 1}, {}))) == []
