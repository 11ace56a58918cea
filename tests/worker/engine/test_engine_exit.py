"""How programs end that never stop their engines: in order, with the exit code that is theirs, and not aborted."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sigmafarm_common.errors import EngineStopped
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from tests import programs
from tests.limits import LIMIT_S

ENDINGS = {
    "an exception": ("raise ValueError('in a notebook')", 1),
    "its last line": ("pass", 0),
    "sys.exit": ("sys.exit(7)", 7),
    "an interrupt": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "an exit from the engine's thread": ("futures[0].add_done_callback(sys.exit); engines[0].drop(futures[0], 'x')", 0),
    "a thread that still waits": (
        "threading.Thread(target=lambda: (engines[0].drop(futures[0], 'x'), futures[0].exception())).start()",
        0,
    ),
    "engines that nobody refers to": ("del engine, engines", 0),
    "an engine stopped and started again": ("engines[0].stop(); engines[0].start()", 0),
    "a child process of its own": ("import os; pid = os.fork(); pid and os.waitpid(pid, 0)", 0),
}


@dataclass
class Ended:
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


class Exiting:
    """Runs programs to their end (exiting.py). One that does not end fails its test by the test's limit."""

    def __init__(self, checkpoint: Path, folder: Path):
        self._out, self._err = folder / "out", folder / "err"
        (theirs_in, asks), (answers, theirs_out) = os.pipe(), os.pipe()
        command = [sys.executable, "-m", "tests.worker.engine.exiting", str(checkpoint)]
        self._process = programs.start(command, stdin=theirs_in, stdout=theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        self._asks, self._answers = os.fdopen(asks, "w"), os.fdopen(answers)

    def run(self, ending: str, *, num_engines: int = 1) -> Ended:
        for path in (self._out, self._err):
            path.write_text("")
        self._asks.write(json.dumps([ending, num_engines, str(self._out), str(self._err)]) + "\n")
        self._asks.flush()
        return Ended(int(self._answers.readline()), self._out.read_text(), self._err.read_text())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._asks.close()
        self._answers.close()


@pytest.fixture(scope="module")
def exiting(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exiting]:
    made = Exiting(checkpoint, tmp_path_factory.mktemp("programs"))
    yield made
    made.close()


@pytest.mark.parametrize("how", ENDINGS)
def test_a_program_that_ends_without_stopping_its_engine_ends_in_order(how, exiting):
    ending, exit_code = ENDINGS[how]

    done = exiting.run(ending)

    assert done.stdout.startswith("begun\n")
    assert done.returncode == exit_code, done.stderr
    assert "terminate called" not in done.stderr
    assert "Fatal Python error" not in done.stderr


def test_a_program_with_several_engines_ends_in_order(exiting):
    done = exiting.run("raise ValueError('in a script')", num_engines=3)

    assert (done.returncode, done.stdout) == (1, "begun\n"), done.stderr
    assert done.stderr.splitlines()[-1] == "ValueError: in a script"


def test_an_engine_that_nobody_refers_to_draws_what_it_was_given_and_is_collected(model):
    engine = Engine(model)
    thread = engine._thread
    engine.start()
    future = engine.submit(RenderRequest(prompt="a", num_inference_steps=30, seed=1))
    gone = weakref.ref(engine)

    del engine
    gc.collect()

    assert gone() is None
    assert future.result(LIMIT_S).seed == 1
    thread._thread.join(LIMIT_S)
    assert not thread.is_running


def test_an_engine_that_was_never_started_and_is_collected_ends_its_jobs(model):
    engine = Engine(model)
    future = engine.submit(RenderRequest(prompt="a", seed=1))

    del engine
    gc.collect()

    with pytest.raises(EngineStopped, match="given up before it was started"):
        future.result(0)
