"""What a job costs in memory on every server that people have."""

from __future__ import annotations

from collections.abc import Callable

from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim
from tests.common.test_store_cost import ENDS, cost_bytes
from tests.redis_server import RedisServer


@ENDS
def test_a_job_that_is_over_costs_little_on_every_server(
    server: RedisServer, end: Callable[[RedisStore, Claim], None], limit_bytes: int
) -> None:
    with server.client() as client:
        assert 200 < cost_bytes(client, end) <= limit_bytes
