"""How programs end that never stop their engines: in order, with the exit code that is theirs, and not aborted."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from sigmafarm_common.errors import EngineStopped
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine

#: Engines in the middle of a thousand steps each, and then whatever the test lets the program do.
PROGRAM = """
import atexit, signal, sys, threading, torch
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import load_model

torch.set_num_threads(1)
model = load_model(sys.argv[1])
engines, futures = [Engine(model, max_images=2) for _ in range({num_engines})], []
for engine in engines:
    began = threading.Event()
    engine.start()
    request = RenderRequest(prompt="a", num_inference_steps=1000, seed=1)
    futures.append(engine.submit(request, lambda done, total, began=began: began.set()))
    assert began.wait(120)
print("begun", flush=True)
{ending}
"""

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


def run(checkpoint: Path, ending: str, *, num_engines: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; one that does not end fails the test by the limit."""
    program = PROGRAM.format(num_engines=num_engines, ending=ending)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, str(checkpoint)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("how", ENDINGS)
def test_a_program_that_ends_without_stopping_its_engine_ends_in_order(how, checkpoint):
    ending, exit_code = ENDINGS[how]

    done = run(checkpoint, ending)

    assert done.stdout.startswith("begun\n")
    assert done.returncode == exit_code, done.stderr
    assert "terminate called" not in done.stderr
    assert "Fatal Python error" not in done.stderr


def test_a_program_with_several_engines_ends_in_order(checkpoint):
    done = run(checkpoint, "raise ValueError('in a script')", num_engines=3)

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
    assert future.result(60).seed == 1
    thread._thread.join(60)
    assert not thread.is_running


def test_an_engine_that_was_never_started_and_is_collected_ends_its_jobs(model):
    engine = Engine(model)
    future = engine.submit(RenderRequest(prompt="a", seed=1))

    del engine
    gc.collect()

    with pytest.raises(EngineStopped, match="given up before it was started"):
        future.result(0)
