"""One server for the tests of a file: its farm's Redis is emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
import redis

from sigmafarm import Config
from sigmafarm.http.fronts.a1111.choices import CHOICES_FILE
from sigmafarm.http.server import HttpServer
from tests.farm_hand import Drawer, FarmHand
from tests.limits import LIMIT_S


@pytest.fixture(scope="module")
def shared_server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    config = Config(redis_url=redis_url, data_dir=tmp_path_factory.mktemp("data"), http_port=0)
    with HttpServer(config, has_keeper=False) as server:
        yield server


@pytest.fixture
def config(shared_server: HttpServer, redis_client: redis.Redis) -> Config:
    (shared_server.config.data_dir / CHOICES_FILE).unlink(missing_ok=True)
    return shared_server.config


@pytest.fixture
def server(shared_server: HttpServer, redis_client: redis.Redis) -> HttpServer:
    """The server without keys and without a keeper of its own. Tests with keys start one of their own."""
    return shared_server


@pytest.fixture
def client(server: HttpServer) -> Iterator[openai.OpenAI]:
    """OpenAI's client, as anybody makes it."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=LIMIT_S) as client:
        yield client


@pytest.fixture
def drawer(hand: FarmHand) -> Iterator[Drawer]:
    """A worker that draws as soon as anything waits."""
    with Drawer(hand) as drawer:
        yield drawer
