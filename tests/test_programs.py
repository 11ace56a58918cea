"""What tests start behaves as what a shell starts."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import programs
from tests.limits import until

CLI = [sys.executable, "-m", "sigmafarm.cli"]
#: Where nothing listens.
NOWHERE = {"SIGMAFARM_REDIS_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture
def serving(tmp_path: Path, redis_url: str) -> programs.Process:
    """A program that goes on until it is told to end; it says where it is in its log."""
    said = {"SIGMAFARM_REDIS_URL": redis_url, "SIGMAFARM_DATA_DIR": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = programs.start([*CLI, "serve", "--port", "0"], env=said, cwd=tmp_path, stdout=log, stderr=log)
    until(lambda: "http://" in (tmp_path / "log").read_text() or process.poll() is not None, "it serves")
    return process


def test_it_is_forked_and_a_child_of_who_started_it(serving: programs.Process):
    assert isinstance(serving, programs.Started)
    assert psutil.Process(serving.pid).ppid() == psutil.Process().pid

    serving.kill()

    assert serving.wait() == -signal.SIGKILL


def test_it_runs_until_it_is_told_to_end(serving: programs.Process):
    with pytest.raises(subprocess.TimeoutExpired):
        serving.wait(0.01)
    assert serving.poll() is None

    serving.terminate()

    assert serving.wait() == 0
    serving.send_signal(signal.SIGTERM)  # nobody is there any more, and it is no error


def test_it_has_its_own_settings_folder_and_streams(tmp_path: Path):
    (tmp_path / "p.txt").write_text("a red circle\n")

    ran = programs.run([*CLI, "submit", "p.txt"], env=NOWHERE, cwd=tmp_path)

    assert (ran.returncode, ran.stdout) == (3, b"")
    assert "127.0.0.1:1" in ran.stderr.decode()


def test_variables_of_the_starter_do_not_reach_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_TICK_S", "no number")

    assert programs.run([*CLI, "config"], env={"SIGMAFARM_TICK_S": "0.5"}).returncode == 0
    assert programs.run([*CLI, "config"]).returncode == 2


@pytest.mark.parametrize("command", [["-c", "print(1)"], ["-m", "sigmafarm.cli", "up", "--help"]])
def test_all_else_is_started_as_it_stands(command: list[str]):
    process = programs.start([sys.executable, *command], stdout=subprocess.DEVNULL)

    assert isinstance(process, subprocess.Popen)
    assert process.wait() == 0


def test_what_another_clock_is_loaded_into_is_started_as_it_stands():
    process = programs.start([*CLI, "--version"], env={"LD_PRELOAD": ""}, stdout=subprocess.DEVNULL)

    assert isinstance(process, subprocess.Popen)
    assert process.wait() == 0
