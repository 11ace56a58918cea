"""One tiny checkpoint for all farms of these tests, and the farm itself."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.farm_harness import FarmHarness
from tests.redis_server import RedisServer

MODELS = '[models.tiny]\npath = "tiny"\ndefaults = { height = 64, width = 64, num_inference_steps = 8 }\n'


@pytest.fixture(scope="session")
def models_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models file with one tiny random model, `tiny`."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "models"
    file = folder / "models.toml"
    with (folder.parent / "models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of the processes that share the tests makes it, the rest wait
        if not file.exists():
            make = [sys.executable, "-m", "sigmafarm_worker.random_checkpoint", str(folder / "tiny")]
            subprocess.run(make, check=True)
            file.write_text(MODELS)
    return file


@pytest.fixture
def crashable(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with an append-only file, of this test's own: to be killed and started again."""
    server = RedisServer(tmp_path / "redis", has_aof=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[str]:
    """Host and port of a server that asks for a password."""
    server = RedisServer(tmp_path / "locked", options=("--requirepass", "secret"))
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def make_farm(
    redis_client: redis.Redis, redis_url: str, tmp_path: Path, models_file: Path
) -> Iterator[Callable[..., FarmHarness]]:
    """Builds farms that are ended after the test; the server is emptied before it."""
    farms: list[FarmHarness] = []

    def make(**settings: object) -> FarmHarness:
        folder = tmp_path / f"farm-{len(farms)}"
        folder.mkdir()
        farms.append(FarmHarness(folder, **{"redis_url": redis_url, "models_file": models_file, **settings}))
        return farms[-1]

    yield make
    for farm in farms:
        farm.close()
