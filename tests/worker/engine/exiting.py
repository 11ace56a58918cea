"""`python -m tests.worker.engine.exiting CHECKPOINT`: programs that end, one a line of its input, each in a fork of its
own: engines in the middle of a thousand steps each, and then whatever the line lets the program do.

A line is JSON: the statements to end with, the number of engines, and the files for what is written. The answer to each
is the program's exit code.
"""

# ruff: noqa: F401 - what stands here is what the statements use
from __future__ import annotations

import json
import os
import signal
import sys
import threading

import torch

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import load_model

if __name__ == "__main__":
    torch.set_num_threads(1)
    model = load_model(sys.argv[1])
    for line in sys.stdin:
        ending, num_engines, out, err = json.loads(line)
        if not (pid := os.fork()):
            break
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    else:
        os._exit(0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    engines, futures = [Engine(model, max_images=2) for _ in range(num_engines)], []
    for engine in engines:
        began = threading.Event()
        engine.start()
        request = RenderRequest(prompt="a", num_inference_steps=1000, seed=1)
        futures.append(engine.submit(request, lambda done, total, began=began: began.set()))
        assert began.wait(300)
    print("begun", flush=True)
    exec(ending)
