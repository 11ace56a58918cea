"""Rows 6 to 10, 13 and 17 of the fault table: a Redis that dies, is away, frozen, cut off, full or unsafe."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator

import pytest

from sigmafarm import Farm
from sigmafarm_common.celery_app import RENDER_TASK, make_app, queue_name
from sigmafarm_common.config import Config
from sigmafarm_common.errors import StoreUnavailable, SubmitInProgress
from sigmafarm_common.manifest import MANIFEST_NAME
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from tests.chaos.chaos_farm import is_alive, until
from tests.chaos.conftest import MakeFarm
from tests.chaos.cut_file import crash_and_cut, num_written
from tests.chaos.proxy import Mode, Proxy
from tests.limits import LIMIT_S
from tests.redis_server import RedisServer

#: How long Redis stands still.
FROZEN_S = 30.0


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def check_refused(*calls: Callable[[], object]) -> None:
    """Each call fails because the store is away, though the store stays away until after it. (How soon, beside a probe
    of the machine: Api.check_away and tests/http/test_outage.py.)"""
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()


@pytest.mark.parametrize("num_jobs", [0, 2, 40], ids=["idle", "partly loaded", "fully loaded"])
def test_06_redis_that_crashes_finds_the_same_workers_again(
    make_farm: MakeFarm, server: RedisServer, num_jobs: int
) -> None:
    """Guards the transport's guard against celery 5.7's second close. Without it a loaded worker may end with an
    AttributeError when Redis restarts, not each time: its process is another then. The guard alone, each time:
    tests/common/test_transport.py."""
    farm = make_farm()
    (worker,) = farm.start_workers(1)
    batches = [farm.submit_and_draw(num_jobs, min(num_jobs, 4), num_inference_steps=150)] if num_jobs else []

    server.kill()
    time.sleep(1.0)  # the outage
    server.start()

    batches.append(farm.submit(4))
    farm.end_and_check(*batches)
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]


def test_06_power_cut_that_tears_the_newest_writes_off_loses_those_and_stops_nobody(
    make_farm: MakeFarm, server: RedisServer
) -> None:
    """Guards the worker's right to a job against a server that knows less than it did, down to a torn command: what was
    on the disk is there, each job ends once, and the workers that live are the same."""
    farm = make_farm()
    (worker,) = farm.start_workers(1)
    batch_id = farm.submit_and_draw(12, 4, num_inference_steps=150)
    on_disk, seed = num_written(server), random.randrange(10**9)
    until(lambda: farm.store.batch(batch_id).counts.succeeded >= 2, "two pictures are recorded")

    num_lost = crash_and_cut(server, on_disk, seed)

    print(f"{num_lost} bytes were cut off, seed {seed}")
    farm.end_and_check(batch_id)
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]


def test_07_producers_are_answered_and_workers_wait_while_redis_is_away(
    make_farm: MakeFarm, server: RedisServer
) -> None:
    """Guards the bounded calls of a producer, and the keeper's mercy: leases are judged only a whole lease after Redis
    is back. Without the mercy every job that was in hand is taken back at the first round and drawn a second time."""
    farm = make_farm(lease_s=3.0, step_s=0.012)
    (worker,) = farm.start_workers(1)
    api = farm.start_api()
    batch_id = farm.submit_and_draw(4, 4, num_inference_steps=1000)

    server.kill()
    api.check_away("GET", f"/v1/batches/{batch_id}")
    api.check_away("POST", "/v1/batches", json={"prompts": ["a"]})
    api.check_away("POST", f"/v1/batches/{batch_id}/cancel")
    check_refused(lambda: farm.submit(1), lambda: farm.store.cancel_batch(batch_id), lambda: farm.store.batch(batch_id))
    time.sleep(4.0)  # longer than a lease: every one has run out on paper
    server.start()

    farm.end_and_check(batch_id)
    assert [(j.fence, j.worker) for j in farm.jobs(batch_id)] == [(1, worker.id)] * 4
    assert api.client.get(f"/v1/batches/{batch_id}").json()["counts"]["succeeded"] == 4


def test_08_frozen_redis_holds_nobody_for_longer_than_the_timeout(make_farm: MakeFarm, server: RedisServer) -> None:
    """Guards the socket timeout of every call, and the idempotency key. Without the timeout a producer hangs for as
    long as Redis is frozen; without the key the second submit makes a second batch."""
    farm = make_farm()
    farm.start_workers(1)
    running = farm.submit_and_draw(12, 4, num_inference_steps=150)
    with Farm(farm.config) as producer:
        server.freeze()
        check_refused(
            lambda: producer.submit(["a", "b"], idempotency_key="once"),
            producer.workers,
            lambda: farm.store.cancel_batch(running),
        )
        server.thaw()
        until(lambda: answers(farm.store), "Redis answers")
        with server.client() as client:
            client.client_pause(int(1000 * LIMIT_S), all=False)
            check_refused(lambda: producer.submit(["a", "b"], idempotency_key="once"))
            client.client_unpause()
        batch_id = until_submitted(producer, ["a", "b"], "once")

    farm.wait_for_batch(batch_id)
    until(lambda: farm.store.batch(running).counts.is_done, "the running jobs end")
    farm.end_and_check(batch_id, running, all_succeed=False)
    assert len(farm.store.batches()) == 2
    assert farm.states(batch_id) == {JobState.SUCCEEDED: 2}


def test_08_api_answers_while_redis_is_frozen_and_takes_a_submit_once(make_farm: MakeFarm, server: RedisServer) -> None:
    """Guards the API's bounded calls, its breaker, and the idempotency key. Without a bound requests hang for as long
    as Redis is frozen, half a minute here; without the key the client's second submit makes a second batch."""
    farm = make_farm()
    farm.start_workers(1)
    api = farm.start_api()
    running = farm.submit_and_draw(8, 4, num_inference_steps=100)

    server.freeze()
    thaw_s = time.monotonic() + FROZEN_S
    while time.monotonic() < thaw_s:
        api.check_away("POST", "/v1/batches", json={"prompts": ["a", "b"]}, headers={"Idempotency-Key": "once"})
        api.check_away("GET", "/v1/batches")
        api.check_away("POST", f"/v1/batches/{running}/cancel")
    server.thaw()

    batch_id = api.until_submitted("a", "b", key="once")
    assert api.until_submitted("a", "b", key="once") == batch_id
    farm.wait_for_batch(running)
    farm.end_and_check(batch_id, running, all_succeed=False)
    assert {b.id for b in farm.store.batches()} == {running, batch_id}
    assert farm.states(batch_id) == {JobState.SUCCEEDED: 2}


def answers(store: RedisStore) -> bool:
    try:
        store.batches()
    except StoreUnavailable:
        return False
    return True


def until_submitted(producer: Farm, rows: list[str], key: str) -> str:
    """Submit with a key until it is taken, as a client does."""
    found: list[str] = []

    def is_taken() -> bool:
        with contextlib.suppress(StoreUnavailable, SubmitInProgress):
            found.append(producer.submit(rows, idempotency_key=key).id)
        return bool(found)

    until(is_taken, "the submit is taken")
    return found[0]


def test_09_partition_loses_nothing(make_farm: MakeFarm, server: RedisServer, proxy: Proxy) -> None:
    """Guards the timeouts of the worker's connections and the second dispatch. Without the latter a message that was
    popped into the partition leaves its job queued for ever."""
    farm = make_farm(worker_sees={"SIGMAFARM_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"})
    farm.start_workers(2)
    batch_id = farm.submit_and_draw(80, 4, num_inference_steps=60)

    for mode, outage_s in ((Mode.SWALLOW, 5.0), (Mode.DROP, 1.0), (Mode.SWALLOW, 0.5), (Mode.LOSE_REPLIES, 0.5)):
        proxy.mode = mode
        time.sleep(outage_s)
        proxy.mode = Mode.PASS
        time.sleep(0.5)  # some work between two partitions
    proxy.delay_s = 0.02

    farm.end_and_check(batch_id)


def test_10_full_redis_refuses_submits_and_keeps_its_workers(make_farm: MakeFarm, server: RedisServer) -> None:
    """Guards broker_channel_error_retry and the patience of finish. Without the first a full Redis ends the worker's
    consumer: its process is another afterwards."""
    farm = make_farm()
    (worker,) = farm.start_workers(1)
    api = farm.start_api()
    batch_id = farm.submit_and_draw(8, 6, num_inference_steps=300)
    app = make_app(farm.config)
    for number in range(40):  # they lie there until a thread is free: while the server is full
        app.send_task(RENDER_TASK, args=[f"ghost {number}"], queue=queue_name("sim"))
    with server.client() as client:
        client.config_set("maxmemory", 1)

        check_refused(lambda: farm.submit(2))
        api.check_away("POST", "/v1/batches", json={"prompts": ["a", "b"]})
        time.sleep(3.0)  # longer than the jobs: their finishes meet the full server

        client.config_set("maxmemory", 0)
    farm.end_and_check(batch_id)
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]


def test_10_server_that_evicts_is_refused_at_the_start(make_farm: MakeFarm, server: RedisServer) -> None:
    """Guards the store's start-up check. Without it the supervisor works on a server that drops queues whole."""
    farm = make_farm()
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    supervisor = farm.start_worker()

    assert supervisor.wait(LIMIT_S) == 3
    assert "maxmemory-policy" in supervisor.log.read_text()


@pytest.mark.parametrize("lose_after", [b"", b"EVALSHA"], ids=["every reply", "scripts' replies"])
def test_13_reply_lost_after_a_submit_gives_one_batch(
    make_farm: MakeFarm, server: RedisServer, proxy: Proxy, lose_after: bytes
) -> None:
    """Guards the idempotency key (begin_batch). Without it the client's second submit makes a second batch."""
    farm = make_farm()
    there = Config.load(**{**farm.config.model_dump(), "redis_url": f"redis://127.0.0.1:{proxy.port}/0"})
    with Farm(there) as producer:
        producer.workers()  # connected before the fault
        proxy.lose_after, proxy.mode = lose_after, Mode.LOSE_REPLIES
        check_refused(lambda: producer.submit(["a", "b", "c"], idempotency_key="once"))
        proxy.lose_after, proxy.mode = b"seal-is-lost-only", Mode.PASS

        first = until_submitted(producer, ["a", "b", "c"], "once")
        second = until_submitted(producer, ["a", "b", "c"], "once")

    assert proxy.num_lost_replies
    assert first == second
    assert [b.id for b in farm.store.batches()] == [first]
    farm.start_workers(1)
    farm.end_and_check(first)
    assert farm.states(first) == {JobState.SUCCEEDED: 3}


def test_13_reply_lost_between_the_api_and_redis_gives_one_batch(
    make_farm: MakeFarm, server: RedisServer, proxy: Proxy
) -> None:
    """Guards the header Idempotency-Key. Without it the client's second submit makes a second batch."""
    farm = make_farm()
    api = farm.start_api(SIGMAFARM_REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    assert api.client.get("/v1/batches").json()["batches"] == []  # connected before the fault

    proxy.lose_after, proxy.mode = b"EVALSHA", Mode.LOSE_REPLIES
    api.check_away("POST", "/v1/batches", json={"prompts": ["a", "b"]}, headers={"Idempotency-Key": "once"})
    proxy.mode = Mode.PASS

    first = api.until_submitted("a", "b", key="once")
    assert api.until_submitted("a", "b", key="once") == first
    assert proxy.num_lost_replies
    assert [b.id for b in farm.store.batches()] == [first]
    farm.start_workers(1)
    farm.end_and_check(first)
    assert farm.states(first) == {JobState.SUCCEEDED: 2}


def test_17_picture_that_is_finished_while_redis_is_away_is_kept_and_recorded_later(
    make_farm: MakeFarm, server: RedisServer
) -> None:
    """Guards the worker's patience with a finished picture. Without it the job is handed back, or its lease runs out,
    and it is drawn a second time: its fence is 2."""
    farm = make_farm(lease_s=5.0)
    (worker,) = farm.start_workers(1)
    batch_id = farm.submit_and_draw(4, 4, num_inference_steps=300)

    server.kill()

    def stored() -> list[str]:
        return sorted(o.key for o in farm.objects.list(f"{batch_id}/") if not o.key.endswith(MANIFEST_NAME))

    until(lambda: len(stored()) == 4, "the pictures are drawn and stored meanwhile")
    server.start()

    farm.end_and_check(batch_id)
    assert [(j.fence, j.image_key) for j in farm.jobs(batch_id)] == [(1, key) for key in stored()]
    assert is_alive(worker.pid)
