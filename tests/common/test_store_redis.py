"""RedisStore keeps the contract on a real server."""

from __future__ import annotations

import pytest
import redis

from sigmafarm_common.store.redis_store import RedisStore
from tests.common.store_contract import CONFIG, FakeMs, StoreContract


@pytest.fixture
def clock() -> FakeMs:
    return FakeMs()


@pytest.fixture
def store(redis_client: redis.Redis, clock: FakeMs) -> RedisStore:
    return RedisStore(CONFIG, redis_client, now_ms=clock)


class TestRedisStore(StoreContract):
    pass
