"""A real server of the API on a free port of loopback, in front of the run's real Redis and a folder of pictures.

Nobody dispatches beside the tests: `hand` draws when it is told to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import redis

from sigmafarm import Config, Farm
from sigmafarm.http import feed
from sigmafarm.http.server import HttpServer
from sigmafarm_common.keys import KeyRecord, Scope
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S


@pytest.fixture(scope="session", autouse=True)
def short_reads() -> Iterator[None]:
    """A server that ends waits for its last read of the event stream: hundreds of servers end here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "READ_S", 0.05)
        yield


@pytest.fixture
def config(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> Config:
    """Settings of a farm on the run's emptied Redis. Tests that need others take `config.replaced(...)`."""
    return Config(redis_url=redis_url, data_dir=tmp_path / "data", http_port=0)


@pytest.fixture
def farm(config: Config) -> Iterator[Farm]:
    """The same farm, seen without HTTP."""
    with Farm(config) as farm:
        yield farm


@pytest.fixture
def hand(farm: Farm) -> FarmHand:
    """A worker, moved by hand: `hand.work()` draws what waits. It serves the model `tiny`."""
    return FarmHand(farm)


@pytest.fixture
def server(config: Config) -> Iterator[HttpServer]:
    """The server, without keys and without a keeper of its own."""
    with HttpServer(config, has_keeper=False) as server:
        yield server


@pytest.fixture
def http(server: HttpServer) -> Iterator[httpx2.Client]:
    """A client of the server; it follows no redirects."""
    with httpx2.Client(base_url=server.url, timeout=LIMIT_S) as client:
        yield client


def add_key(farm: Farm, owner: str = "ann", *scopes: Scope) -> tuple[str, dict[str, str]]:
    """Make a key and return its id and the header that shows it."""
    given = frozenset(scopes or (Scope.SUBMIT, Scope.READ))
    record, text = KeyRecord.make(name=owner, owner=owner, scopes=given, now_ms=1)
    farm.store.add_key(record)
    return record.id, {"Authorization": f"Bearer {text}"}
