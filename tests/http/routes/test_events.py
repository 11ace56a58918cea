"""Server-sent events: live, resumed, bounded, each owner's own; and an end with the server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
import pytest
from httpx_sse import connect_sse

from sigmafarm import Config, Farm
from sigmafarm.http import feed
from sigmafarm.http.feed import Listener, heard
from sigmafarm.http.guard.crowd import Kind
from sigmafarm.http.routes import events as routes
from sigmafarm.http.routes.events import order_of
from sigmafarm.http.server import HttpServer
from sigmafarm_common.store.values import Event
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.limits import LIMIT_S, until


@contextmanager
def stream(url: str, path: str, **headers: str) -> Iterator[Callable[[int], list[dict[str, Any]]]]:
    """Open a stream; give a function that reads so many events."""
    with (
        httpx2.Client(base_url=url, timeout=LIMIT_S) as client,
        client.stream("GET", path, headers=headers) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines).startswith(": ")  # from here on the server listens

        def read(num: int) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            fields: dict[str, str] = {}
            for line in lines:
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    found.append({"event": fields["event"], "id": fields["id"], **json.loads(fields["data"])})
                    fields = {}
                    if len(found) == num:
                        break
            return found

        yield read


def test_a_client_that_hands_out_every_block_is_given_events_alone(
    server: HttpServer, farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    """httpx-sse takes a blank line for the end of an event, an empty one behind comments: pings are none."""
    monkeypatch.setattr(routes, "HEARTBEAT_S", 0.02)
    batch = farm.submit(["a", "b"])
    with httpx.Client(timeout=LIMIT_S) as client:
        address = f"{server.url}/v1/batches/{batch.id}/events"
        with connect_sse(client, "GET", address, headers={"Last-Event-ID": "0"}) as source:
            events = source.iter_sse()
            seen = [next(events)]
            time.sleep(0.2)  # some pings come
            hand.work()
            for event in events:
                seen.append(event)
                if event.event == "batch.finished":
                    break

    assert seen[0].retry == routes.RETRY_MS
    assert [each.retry for each in seen[1:]] == [None] * 5
    assert all(each.data and each.id for each in seen)
    assert [each.json()["kind"] for each in seen] == [each.event for each in seen]


def test_what_happens_is_told_as_it_happens(server: HttpServer, farm: Farm, hand: FarmHand):
    with stream(server.url, "/v1/events") as read:
        batch = farm.submit(["a", "fail b"])
        hand.work_all()
        seen = read(6)

    kinds = [(each["event"], each["job_id"][-1:]) for each in seen]
    assert kinds[0] == ("batch.submitted", "")
    assert sorted(kinds[1:5]) == [
        ("job.failed", "1"),
        ("job.running", "0"),
        ("job.running", "1"),
        ("job.succeeded", "0"),
    ]
    assert kinds[5] == ("batch.finished", "")
    assert {each["batch_id"] for each in seen} == {batch.id}
    assert [each["id"] for each in seen] == sorted((each["id"] for each in seen), key=order_of)


def test_one_batch_alone(server: HttpServer, farm: Farm, hand: FarmHand):
    mine, other = farm.submit(["a"]), farm.submit(["b"])

    with stream(server.url, f"/v1/batches/{mine.id}/events") as read:
        farm.store.pause_batch(other.id)
        farm.store.pause_batch(mine.id)
        seen = read(1)

    assert (seen[0]["event"], seen[0]["batch_id"]) == ("batch.paused", mine.id)


def test_a_stream_goes_on_where_it_broke(server: HttpServer, farm: Farm, hand: FarmHand):
    with stream(server.url, "/v1/events") as read:
        batch = farm.submit(["a"])
        (first,) = read(1)
    hand.work_all()
    with stream(server.url, "/v1/events", **{"Last-Event-ID": first["id"]}) as read:
        missed = read(3)
        farm.store.set_priority(batch.id, 4)
        live = read(1)

    assert [each["event"] for each in missed] == ["job.running", "job.succeeded", "batch.finished"]
    assert (live[0]["event"], live[0]["priority"]) == ("batch.priority", "4")


def test_one_who_is_too_far_behind_is_told_to_look_again(
    server: HttpServer, farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(routes, "READ_LIMIT", 2)
    monkeypatch.setattr(routes, "REPLAY_LIMIT", 4)
    batch = farm.submit(["a"] * 5)
    hand.work_all()
    newest = farm.store.last_events(limit=1)[0].id

    with stream(server.url, "/v1/events?after=0") as read:
        (told,) = read(1)
    with stream(server.url, "/v1/events?after=1") as read:  # older than what the stream keeps
        (also,) = read(1)

    assert (told["event"], told["id"]) == ("resync", newest)
    assert (also["event"], also["id"]) == ("resync", newest)
    assert batch.counts.succeeded == 5


@pytest.mark.parametrize("after", ["$", "x", "-1", "1-", "9" * 41])
def test_a_place_that_is_none_is_said(http: httpx2.Client, after: str):
    response = http.get("/v1/events", headers={"Last-Event-ID": after})

    assert response.status_code == 422


def test_owners_hear_of_their_own_batches_only(config: Config, farm: Farm, hand: FarmHand):
    _, ann = add_key(farm, "ann")
    with HttpServer(config, has_keeper=False) as server:
        before = farm.submit(["a"], owner="bob")
        with stream(server.url, "/v1/events", **ann) as read:
            farm.submit(["b"], owner="bob")
            mine = farm.submit(["c"], owner="ann")
            live = read(1)
        with stream(server.url, "/v1/events?after=0", **ann) as read:
            replayed = read(1)
        with httpx2.Client(base_url=server.url) as client:
            assert client.get(f"/v1/batches/{before.id}/events", headers=ann).status_code == 404

    assert [each["batch_id"] for each in live + replayed] == [mine.id, mine.id]


def test_a_stream_ends_when_its_key_does(config: Config, farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes, "HEARTBEAT_S", 0.05)
    key_id, ann = add_key(farm, "ann")
    with (
        HttpServer(config, has_keeper=False) as server,
        httpx2.stream("GET", server.url + "/v1/events", headers=ann, timeout=LIMIT_S) as response,
    ):
        lines = response.iter_lines()
        assert next(lines).startswith(": ")
        farm.store.revoke_key(key_id)
        rest = list(lines)

    assert set(rest) <= {"", ": ping"}


def test_silence_is_broken_by_comments(server: HttpServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes, "HEARTBEAT_S", 0.05)

    with httpx2.stream("GET", server.url + "/v1/events") as response:
        lines = response.iter_lines()
        seen = [next(lines) for _ in range(4)]

    assert seen[2] == ": ping"


def test_a_listener_that_leaves_is_forgotten(server: HttpServer):
    site = server.app.state.site
    with stream(server.url, "/v1/events"):
        until(lambda: site.feed.num_listeners == 1, "it listens")

    until(lambda: site.feed.num_listeners == 0, "it is forgotten")


def test_open_streams_do_not_hold_up_the_end(config: Config):
    server = HttpServer(config, has_keeper=False)
    server.start()
    ended = threading.Event()

    def follow() -> None:
        with httpx2.stream("GET", server.url + "/v1/events", timeout=LIMIT_S) as response:
            for _ in response.iter_raw():
                pass
        ended.set()

    follower = threading.Thread(target=follow)
    follower.start()
    until(lambda: server.app.state.site.feed.num_listeners == 1, "it listens")
    server.stop()

    assert ended.wait(LIMIT_S)
    follower.join()


def test_only_so_many_streams_are_held(config: Config):
    with HttpServer(config.replaced(max_streams=1), has_keeper=False) as server:
        with stream(server.url, "/v1/events"):
            until(lambda: server.app.state.site.feed.num_listeners == 1, "it listens")
            refused = httpx2.get(server.url + "/v1/events")
        until(lambda: server.app.state.site.guard.crowd.num(Kind.STREAM) == 0, "its place is free again")
        with stream(server.url, "/v1/events"):
            pass

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")


async def _read_all(listener: Listener) -> list[str]:
    kinds: list[str] = []
    while (event := await listener.next(0.01)) is not None:
        kinds.append(event.kind)
    return kinds


def test_a_listener_that_reads_too_slowly_is_told_to_look_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "QUEUE_LIMIT", 3)

    async def run() -> list[str]:
        listener = Listener(lambda _event, _owner: True)
        for number in range(5):
            listener.hand(heard(Event(f"{number}-0", "job.running", "b"), None))
        return await _read_all(listener)

    assert asyncio.run(run()) == ["resync", "job.running"]


def test_who_listens_before_the_reader_knows_its_place_is_told_to_look_again(
    config: Config, farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    may_look = threading.Event()

    class SlowStore(feed.RedisStore):
        def last_events(self, *args: Any, **named: Any) -> list[Event]:
            may_look.wait(LIMIT_S)
            return super().last_events(*args, **named)

    monkeypatch.setattr(feed, "RedisStore", SlowStore)
    with HttpServer(config, has_keeper=False) as server:
        earlier = farm.submit(["a"])
        with stream(server.url, f"/v1/batches/{earlier.id}/events") as read:
            hand.work_all()
            may_look.set()
            assert read(1)[0]["event"] == "resync"


def test_one_reader_serves_many_listeners(server: HttpServer, farm: Farm, hand: FarmHand):
    site = server.app.state.site
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for each in sockets:
        each.sendall(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    until(lambda: site.feed.num_listeners == 50, "all listen")
    blocked = farm.store.client.info("clients")["blocked_clients"]

    farm.submit(["a"])

    for each in sockets:
        each.settimeout(LIMIT_S)
        text = b""
        while b"batch.submitted" not in text:
            text += each.recv(4096)
        each.close()
    assert blocked < 10  # other servers on this Redis have a reader of their own
