"""RedisStore keeps the contract on every server that people have. tests/common holds it to the farm's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from sigmafarm_common.store.redis_store import RedisStore
from tests.common.contracts import StoreContract
from tests.common.store_contract import CONFIG, PATIENT, FakeMs
from tests.redis_server import DEFAULT_SERVER, SERVERS, RedisServer, find_server_binary

OTHERS = [name for name in SERVERS if name != DEFAULT_SERVER]


@pytest.fixture(scope="module", params=OTHERS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if find_server_binary(request.param) is None:
        pytest.skip(f"{request.param} is not installed here")
    server = RedisServer(tmp_path_factory.mktemp("server"), server=request.param)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(shared: RedisServer) -> Iterator[redis.Redis]:
    with shared.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def clock() -> FakeMs:
    return FakeMs()


@pytest.fixture
def store(client: redis.Redis, clock: FakeMs) -> RedisStore:
    return RedisStore(CONFIG, client, now_ms=clock)


@pytest.fixture
def patient_store(client: redis.Redis, clock: FakeMs) -> RedisStore:
    return RedisStore(PATIENT, client, now_ms=clock)


class TestRedisStore(StoreContract):
    pass
