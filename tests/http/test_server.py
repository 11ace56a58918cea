"""The server itself: start, stop, addresses that cannot be, the one body of errors, headers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import redis
import structlog
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route

from sigmafarm import Config, Farm, InvalidSettings
from sigmafarm.http.app import create_app
from sigmafarm.http.server import HttpServer, bind
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.limits import LIMIT_S, until
from tests.ports import free_port
from tests.terminal import Terminal


def test_it_lives_without_asking_anything(http: httpx2.Client):
    assert http.get("/healthz").json() == {"status": "ok"}


def test_an_address_that_is_nothing_answers_the_error_body(http: httpx2.Client):
    response = http.get("/v1/nothing")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert set(response.json()) == {"code", "message", "fields", "retryable", "error"}
    assert response.json()["error"] == {
        "message": response.json()["message"],
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }, "what OpenAI's clients read"


def test_a_method_that_cannot_be_answers_the_error_body_and_says_which_can(http: httpx2.Client):
    response = http.post("/healthz")

    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.json()["message"] == "POST cannot be done here: GET can"


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/v1/models", "/v1/batches", "/v1/nothing", "/", "/static/css/base.css"]
)
def test_head_answers_as_get_does_without_a_body(http: httpx2.Client, path: str):
    get, head = http.get(path), http.head(path)

    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":  # which tells of the request before it
        assert head.headers.get("content-length") == get.headers.get("content-length")


def test_head_of_what_goes_on_for_ever_ends_and_gives_its_place_back(server: HttpServer, http: httpx2.Client):
    for _ in range(20):
        head = http.head("/v1/events")
        assert (head.status_code, head.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")

    with http.stream("GET", "/v1/events") as stream:
        assert stream.status_code == 200


def test_a_picture_and_a_zip_are_asked_about_by_their_head(http: httpx2.Client, farm: Farm, hand: FarmHand):
    batch = farm.submit("a")
    hand.work()
    (job,) = batch.jobs()

    picture = http.head(f"/v1/jobs/{job.id}/image", params={"redirect": "false"})
    assert (picture.status_code, picture.headers["content-length"]) == (200, str(job.size_bytes))
    assert http.head(f"/v1/batches/{batch.id}/download.zip").headers["content-type"] == "application/zip"


def test_every_answer_carries_the_headers_that_bind_a_browser(http: httpx2.Client):
    headers = http.get("/v1/nothing").headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert "server" not in headers


def test_a_port_that_is_taken_is_said_with_the_cure(server: HttpServer):
    with pytest.raises(InvalidSettings, match=f"SIGMAFARM_HTTP_PORT is {server.port}: another program listens there"):
        bind("127.0.0.1", server.port)


def test_an_address_that_is_not_ours_is_said_with_the_cure():
    with pytest.raises(InvalidSettings, match=r"SIGMAFARM_HTTP_HOST is 192.0.2.1: .*127.0.0.1"):
        bind("192.0.2.1", 0)


def test_it_refuses_an_address_that_others_reach_while_there_is_no_key(config: Config, farm: Farm):
    server = HttpServer(config.replaced(http_host="0.0.0.0"), has_keeper=False)

    with pytest.raises(InvalidSettings, match=r"SIGMAFARM_HTTP_HOST is 0.0.0.0.*`sigmafarm keys add NAME"):
        server.check()
    add_key(farm)
    server.check()

    server.stop()


def test_stopping_twice_is_stopping_once(config: Config):
    server = HttpServer(config, has_keeper=False)
    server.start()

    server.stop()
    server.stop()

    assert not server.is_alive()


def test_no_route_is_built_when_the_first_request_comes(config: Config):
    app = create_app(config, has_keeper=False)

    assert {type(route) for route in app.routes} <= {APIRoute, Route, Mount}


def test_the_keeper_of_an_api_process_dispatches(config: Config, hand: FarmHand, redis_client: redis.Redis):
    with HttpServer(config) as server:
        httpx2.post(server.url + "/v1/batches", json={"prompts": ["a"]})

        until(lambda: redis_client.llen("render.tiny") == 1, "the call is published")


# -- sigmafarm serve


@pytest.fixture
def terminal(tmp_path: Path, redis_url: str, redis_client: redis.Redis) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, SIGMAFARM_REDIS_URL=redis_url, SIGMAFARM_DATA_DIR=tmp_path / "data")
    yield terminal
    terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_where_it_is_and_ends_in_order(terminal: Terminal, tmp_path: Path, number: signal.Signals):
    process = terminal.start("serve", "--port", "0", log="serve.log")
    until(lambda: "are at http://127.0.0.1:" in (tmp_path / "serve.log").read_text(), "it says its address")
    url = (tmp_path / "serve.log").read_text().split("are at ")[1].split()[0]
    until(lambda: lives(url), "it lives")

    process.send_signal(number)

    assert process.wait(LIMIT_S) == (0 if number is signal.SIGTERM else 130)
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def lives(url: str) -> bool:
    try:
        return httpx2.get(url + "/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def test_serve_ends_with_the_cure_where_it_cannot_serve(terminal: Terminal, server: HttpServer):
    terminal.run("serve", "--port", str(server.port), exit_code=2)
    terminal.run("serve", "--host", "0.0.0.0", "--port", "0", exit_code=2)
    terminal.environment["SIGMAFARM_REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    terminal.run("serve", "--port", "0", exit_code=3)
    del terminal.environment["SIGMAFARM_REDIS_URL"]
    terminal.run("serve", "--port", "0", exit_code=3)


def test_the_log_names_routes_and_keys_but_no_prompt(config: Config, farm: Farm, hand: FarmHand):
    key_id, ann = add_key(farm, "ann")
    with structlog.testing.capture_logs() as lines, HttpServer(config, has_keeper=False) as server:
        httpx2.post(server.url + "/v1/batches?name=hush", json={"prompts": ["secret"]}, headers=ann)
        httpx2.get(server.url + "/v1/batches?q=secret", headers=ann)

    (told,) = [line for line in lines if line.get("event") == "request" and line["log_level"] == "info"]
    assert (told["method"], told["route"], told["status"], told["key"]) == ("POST", "/v1/batches", 201, key_id)
    assert "secret" not in str(lines)
    assert "hush" not in str(lines)
    assert ann["Authorization"] not in str(lines)
