"""The server itself: start, stop, addresses that cannot be, the one body of errors, headers."""

from __future__ import annotations

import httpx2
import pytest

from sigmafarm import Config, Farm, InvalidSettings
from sigmafarm.http.server import HttpServer, bind
from tests.http.conftest import add_key


def test_it_lives_without_asking_anything(http: httpx2.Client):
    assert http.get("/healthz").json() == {"status": "ok"}


def test_an_address_that_is_nothing_answers_the_error_body(http: httpx2.Client):
    response = http.get("/v1/nothing")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert set(response.json()) == {"code", "message", "fields", "retryable"}


def test_a_method_that_cannot_be_answers_the_error_body_and_says_which_can(http: httpx2.Client):
    response = http.post("/healthz")

    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.json()["message"] == "POST cannot be done here: GET can"


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
