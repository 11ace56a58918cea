"""Each server that people have, by name; one that is not installed here skips, with its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import SERVERS, RedisServer, find_server_binary


@pytest.fixture(params=SERVERS)
def server_name(request: pytest.FixtureRequest) -> str:
    """A server's name, of each in turn."""
    if find_server_binary(request.param) is None:
        pytest.skip(f"{request.param} is not installed here")
    return request.param


@pytest.fixture
def server(server_name: str, tmp_path: Path) -> Iterator[RedisServer]:
    """That server, of the test's own, with an append-only file."""
    server = RedisServer(tmp_path / "redis", has_aof=True, server=server_name)
    server.start()
    yield server
    server.stop()
