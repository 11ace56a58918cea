"""The oracle: bare UNet passes of the rows that a load has, in the fullest batch, and nothing else.

    python -m tests.bench.race.oracle MODEL DEVICE THREADS DONE     its process

Reads from standard input, a line each, how many passes to make; appends to the file DONE, a line each, when the last of
them was done, in seconds since 1970: `ready` first.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_worker.engine.stepping import make_passes
from sigmafarm_worker.host_memory import keep_freed_memory
from sigmafarm_worker.models import Model, load_model
from tests.bench.engine_bench import matmul_rate, unet_flops, unet_inputs
from tests.bench.race.loads import Asked
from tests.limits import until

#: Rows of a full pass: sixteen pictures with guidance.
NUM_ROWS = 32
READY = "ready"


class Oracle:
    """The model once more: in this process, to be asked what a pass costs; and in one of its own that makes passes, a
    contender like the others."""

    name = "oracle"

    def __init__(self, model: Path, folder: Path, device: str, threads: int):
        torch.set_num_threads(threads)
        self.model = _loaded(str(model), device)
        self.row_flops = unet_flops(self.model)
        self._done = folder / "oracle.done"
        self._command = [sys.executable, "-m", "tests.bench.race.oracle", str(model), device, str(threads)]
        self._process: subprocess.Popen[str] | None = None
        self._num_asked = 0

    def matmul_rate(self) -> float:
        """Measure the rate of a large product, in FLOP/s."""
        return matmul_rate(str(self.model.device), self.model.dtype)

    # As a contender

    def start(self) -> None:
        self._process = subprocess.Popen([*self._command, str(self._done)], stdin=subprocess.PIPE, text=True)
        until(lambda: self._lines() or not self._is_alive(), "the oracle is ready")
        assert self._is_alive(), "the oracle has ended"

    def submit(self, asked: Sequence[Asked]) -> list[str]:
        """Have as many passes made as the rows of a load of native pictures fill. Raises ValueError for other sizes."""
        if {each.side for each in asked} != {self.model.height}:
            raise ValueError("the oracle knows pictures of the native size alone")
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(f"{sum(each.row_steps for each in asked) / NUM_ROWS}\n")
        self._process.stdin.flush()
        self._num_asked += 1
        return [str(self._num_asked)] * len(asked)

    def wait(self, jobs: Sequence[str]) -> dict[str, float]:
        until(lambda: self.are_stored(jobs) or not self._is_alive(), "the oracle has made its passes")
        done = self._lines()
        return {job: float(done[int(job)]) for job in jobs}

    def are_stored(self, jobs: Sequence[str]) -> bool:
        return len(self._lines()) > max(map(int, jobs))

    def pids(self) -> list[int]:
        assert self._process, "it is not started"
        return [self._process.pid]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _lines(self) -> list[str]:
        return self._done.read_text().split() if self._done.exists() else []


def _loaded(folder: str, device: str) -> Model:
    return load_model(ModelSpec(name="oracle", path=folder), device=device)


@torch.inference_mode()
def main() -> None:
    keep_freed_memory()
    folder, device, threads, done = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = _loaded(folder, device)
    unet_pass = make_passes({model.name: model}, model.device, SystemClock())[model.name]
    inputs = unet_inputs(model, NUM_ROWS)
    unet_pass.warm_up(*inputs[0].shape[2:], NUM_ROWS)
    with Path(done).open("a") as file:
        print(READY, file=file, flush=True)
        for line in sys.stdin:
            num, ended_s = float(line), [time.time()]
            for _ in range(math.ceil(num)):
                unet_pass(*inputs)
                if model.device.type == "cuda":
                    torch.cuda.synchronize(model.device)
                ended_s.append(time.time())
            # Of the last pass, the share that the load fills.
            print(ended_s[-1] - (ended_s[-1] - ended_s[-2]) * (math.ceil(num) - num), file=file, flush=True)


if __name__ == "__main__":
    main()
