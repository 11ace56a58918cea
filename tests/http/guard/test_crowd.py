"""One client with hundreds of connections, against a server that may open few files: everybody else is served."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope

from sigmafarm import Config, Farm
from sigmafarm.http.guard import door
from sigmafarm.http.guard.body_limit import BodyLimit
from sigmafarm.http.guard.crowd import Kind
from sigmafarm.http.guard.places import Places
from sigmafarm.http.server import HttpServer
from sigmafarm_common.keys import Scope
from tests.http.conftest import add_key
from tests.limits import LIMIT_S, until
from tests.terminal import Terminal

pytestmark = pytest.mark.slow

#: The files that the server may open, and the connections of one client.
NUM_FILES, NUM_MANY = 256, 500
PLACES = Places.of(Config(), NUM_FILES)


class Serving:
    """`sigmafarm serve` with few files. `url` and `port` say where it is."""

    def __init__(self, terminal: Terminal, **settings: object):
        log = terminal.folder / "serve.log"
        command = f'ulimit -n {NUM_FILES} && exec "$0" -m sigmafarm.cli serve --port 0'
        environment = {**terminal.environment, **{name: str(value) for name, value in settings.items()}}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                ["sh", "-c", command, sys.executable], cwd=terminal.folder, env=environment, stdout=out, stderr=out
            )
        self.log = log
        until(lambda: "are at http://" in log.read_text(), "it says its address")
        self.url = log.read_text().split("are at ")[1].split()[0]
        self.port = int(self.url.rpartition(":")[2])
        until(self.lives, "it lives")

    def lives(self) -> bool:
        try:
            return httpx2.get(self.url + "/healthz", timeout=LIMIT_S).status_code == 200
        except httpx2.TransportError:
            return False

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT_S)


@contextmanager
def served(folder: Path, redis_url: str) -> Iterator[Serving]:
    terminal = Terminal(folder, SIGMAFARM_REDIS_URL=redis_url, SIGMAFARM_DATA_DIR=folder / "data")
    serving = Serving(terminal, SIGMAFARM_HEADER_WAIT_S=600, SIGMAFARM_BODY_WAIT_S=600)
    yield serving
    serving.close()


@pytest.fixture
def serving(tmp_path: Path, farm: Farm, redis_url: str) -> Iterator[Serving]:
    with served(tmp_path, redis_url) as serving:
        yield serving


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Serving]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith("SIGMAFARM_")]:
            patch.delenv(name)
        with served(tmp_path_factory.mktemp("serving"), redis_url) as serving:
            yield serving


@pytest.fixture
def shared(one_server: Serving, farm: Farm) -> Serving:
    """One server of several tests, on an emptied farm: it knows already that no key is there."""
    until(lambda: httpx2.get(one_server.url + "/v1/batches").status_code == 200, "no key is asked for")
    return one_server


@contextmanager
def many(port: int, num: int, begin: bytes) -> Iterator[list[socket.socket]]:
    """Hold so many connections, each with the beginning of something."""
    with ExitStack() as stack:
        held: list[socket.socket] = []
        for _ in range(num):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S))
            held.append(each)
            try:
                each.sendall(begin)
            except OSError:  # it had to give way already
                continue
        yield held


def check_served(url: str, headers: dict[str, str], num: int = 5) -> None:
    """Everybody else is served, and not by chance."""
    for _ in range(num):
        with httpx2.Client(base_url=url, timeout=LIMIT_S) as other:
            assert other.get("/healthz").status_code == 200
            assert other.get("/v1/batches", headers=headers).status_code == 200
            assert other.get("/readyz").status_code == 200


HALF_REQUESTS = {
    "nothing": b"",
    "a line": b"GET /healthz HTTP/1.1\r\n",
    "half of a header": b"GET /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 100,
    "a second one after a whole one": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /heal",
    "half of a body": b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
    b"application/x-www-form-urlencoded\r\nContent-Length: 600\r\n\r\nkey=",
    "half of a body that is refused": b"POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 600\r\n\r\na",
}


@pytest.mark.parametrize("begin", HALF_REQUESTS.values(), ids=list(HALF_REQUESTS))
def test_half_requests_without_a_key_stop_nobody(shared: Serving, farm: Farm, begin: bytes):
    _, ann = add_key(farm, "ann")
    until(lambda: httpx2.get(shared.url + "/v1/batches").status_code == 401, "a key is asked for")

    with many(shared.port, NUM_MANY, begin):
        check_served(shared.url, ann)

    check_served(shared.url, ann)
    assert "Too many open files" not in shared.log.read_text()


@pytest.mark.parametrize("is_keyed", [True, False], ids=["one key", "no keys"])
def test_event_streams_of_one_caller_stop_nobody(serving: Serving, farm: Farm, is_keyed: bool):
    headers, others = {}, {}
    if is_keyed:
        headers, others = add_key(farm, "greedy", Scope.READ)[1], add_key(farm, "ann")[1]
        until(lambda: httpx2.get(serving.url + "/v1/batches").status_code == 401, "a key is asked for")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    ask = f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()

    with many(serving.port, NUM_MANY, ask) as held:
        check_served(serving.url, others)
        if is_keyed:  # and another may still follow
            with httpx2.stream("GET", serving.url + "/v1/events", headers=others, timeout=LIMIT_S) as response:
                assert response.status_code == 200
        answers = [first_line(each) for each in held]

    most = PLACES.streams.key if is_keyed else PLACES.streams.owner
    assert answers.count("200") == most
    assert set(answers) <= {"200", "429", "cut"}  # who was refused is quiet, and gives way to the next
    assert answers.count("429") > most


def first_line(each: socket.socket) -> str:
    """Return the status of an answer."""
    try:
        return each.recv(4096).decode().split(" ")[1]
    except (OSError, IndexError):
        return "cut"


def test_waiting_clients_and_slow_bodies_of_one_key_leave_room_for_another(serving: Serving, farm: Farm, hand: object):
    _, greedy = add_key(farm, "greedy")
    _, ann = add_key(farm, "ann")
    until(lambda: httpx2.get(serving.url + "/v1/batches").status_code == 401, "a key is asked for")
    lines = f"Host: 127.0.0.1\r\nAuthorization: {greedy['Authorization']}\r\n"
    body = b'{"prompt": "a boat"}'
    waits = f"POST /v1/images/generations HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
    slow = f"POST /v1/batches HTTP/1.1\r\n{lines}Content-Type: text/plain\r\nContent-Length: 900\r\n\r\na".encode()

    with many(serving.port, NUM_MANY // 4, waits), many(serving.port, NUM_MANY // 4, slow) as held:
        check_served(serving.url, ann)
        answer = httpx2.post(serving.url + "/v1/batches", json={"prompts": ["mine"]}, headers=ann, timeout=LIMIT_S)
        until(lambda: [each for each in held if readable(each)], "those above the bound are refused")

    assert answer.status_code == 201


def readable(each: socket.socket) -> bool:
    each.settimeout(0.01)
    try:
        return b" 429 " in each.recv(100, socket.MSG_PEEK)
    except OSError:  # nothing came yet, or it had to give way
        return False


# -- one server in this process, with numbers that a test can fill


@pytest.fixture
def small(config: Config) -> Iterator[Callable[..., HttpServer]]:
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(HttpServer(config.replaced(**settings), has_keeper=False))


def test_where_every_place_is_busy_newcomers_are_refused_in_order_and_health_answers(small: Any, farm: Farm):
    server = small(max_connections=8)
    keys = [add_key(farm, f"owner{n}")[1]["Authorization"] for n in range(6)]
    until(lambda: httpx2.get(server.url + "/v1/batches").status_code == 401, "a key is asked for")
    slow = "POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n"
    crowd = server.app.state.site.guard.crowd

    with ExitStack() as stack:
        for key in keys[:4]:
            stack.enter_context(many(server.port, 2, f"{slow}Authorization: {key}\r\n\r\n".encode()))
        until(lambda: crowd.num(Kind.REQUEST) == 8, "all are busy")
        refused = httpx2.get(server.url + "/v1/batches", headers={"Authorization": keys[5]})
        health = httpx2.get(server.url + "/healthz")

    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_connections")
    assert refused.headers["retry-after"] == "5"
    assert "SIGMAFARM_MAX_CONNECTIONS" in refused.json()["message"]
    assert health.status_code == 200
    until(lambda: crowd.num(Kind.REQUEST) == 0, "their places are free again")
    assert httpx2.get(server.url + "/v1/batches", headers={"Authorization": keys[5]}).status_code == 200


def has_ended(each: socket.socket) -> bool:
    try:
        return each.recv(10) == b""
    except ConnectionResetError:  # what was sent came after the end
        return True


def test_headers_have_a_deadline(small: Any):
    server = small(header_wait_s=0.3)

    with many(server.port, 3, b"GET /healthz HTTP/1.1\r\nHost:") as held:
        for each in held:
            assert first_line(each) == "408"
            assert has_ended(each)
    until(lambda: server.door.num_open == 0, "they are gone")


def test_a_trickle_of_headers_does_not_move_their_deadline(small: Any):
    server = small(header_wait_s=1.0)
    is_over = threading.Event()

    def trickle(each: socket.socket) -> None:
        while not is_over.wait(0.05):
            try:
                each.sendall(b"a")
            except OSError:
                return

    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as each:
        each.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        thread = threading.Thread(target=trickle, args=(each,))
        thread.start()
        answer = first_line(each)
        is_over.set()
        thread.join()

    assert answer in ("408", "cut")


def test_bodies_have_a_deadline(small: Any, farm: Farm):
    server = small(body_wait_s=0.3)
    head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {}\r\nContent-Length: 90\r\n\r\n"
    sent = {
        "POST /v1/batches": "text/plain",
        "POST /v1/images/generations": "application/json",
        "POST /sdapi/v1/txt2img": "application/json",
        "PATCH /v1/batches/b": "application/json",
        "POST /submit/count": "multipart/form-data; boundary=x",
    }

    for what, kind in sent.items():
        begin = b"--x" if "boundary" in kind else b"{"
        with many(server.port, 1, f"{what} {head.format(kind)}".encode() + begin) as (each,):
            assert first_line(each) == "408", what
    assert farm.batches() == []


def test_a_body_that_comes_at_its_leisure_but_comes_is_taken(small: Any, hand: object, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sigmafarm.http.guard.body_limit.LEAST_BYTES_S", 1)  # a second more for every byte
    server = small(body_wait_s=5.0)
    head = b"POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 40\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as each:
        each.sendall(head + b"a" * 20)
        httpx2.get(server.url + "/healthz")
        each.sendall(b"b" * 20)
        assert first_line(each) == "201"


def test_time_that_we_take_ourselves_is_not_the_client_s(small: Any):
    """An app that begins to read long after the deadline of the body, which had come whole before."""
    server = small(body_wait_s=0.01)
    read: list[Message] = []

    async def read_late(scope: AsgiScope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.05)
        read.extend([await receive(), await receive()])

    parts: list[Message] = [{"type": "http.request", "body": b"ab", "more_body": n == 0} for n in range(2)]

    async def receive() -> Message:
        return parts.pop(0)

    async def send(_message: Message) -> None:
        raise AssertionError("nothing is answered")

    scope = {"type": "http", "method": "POST", "path": "/v1/batches", "headers": []}
    asyncio.run(BodyLimit(read_late, server.app.state.guard)(scope, receive, send))

    assert [message["body"] for message in read] == [b"ab", b"ab"]


def test_an_answer_that_nobody_reads_is_cut(small: Any, farm: Farm, hand: object, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(door, "UNREAD_S", 0.3)
    server = small()
    batch = farm.submit(["x" * 16_000] * 900)
    ask = f"GET /v1/batches/{batch.id}/manifest HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    with socket.socket() as each:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.connect(("127.0.0.1", server.port))
        each.sendall(ask)  # and reads nothing
        assert each.recv(1) == b"H"
        until(lambda: server.door.num_open == 0, "it is cut")


def test_a_stream_is_not_cut_while_it_is_read(small: Any, farm: Farm, hand: object):
    server = small(header_wait_s=0.2, body_wait_s=0.2)
    with ExitStack() as stack:
        lines = stack.enter_context(followed(server.url))
        with many(server.port, 1, b"") as (quiet,):
            assert first_line(quiet) == "408", "so much time is over for the stream as well"
        farm.submit(["a"])
        assert next(line for line in lines if line.startswith("event:")) == "event: batch.submitted"


@contextmanager
def followed(url: str) -> Iterator[Iterator[str]]:
    """Follow the farm, however often this thread stands still for longer than the server waits for headers."""
    for _ in range(100):
        with httpx2.stream("GET", url + "/v1/events", timeout=LIMIT_S) as response:
            if response.status_code == 200:
                lines = response.iter_lines()
                assert next(lines).startswith(": ")
                yield lines
                return
    raise AssertionError("no stream in a hundred tries")
