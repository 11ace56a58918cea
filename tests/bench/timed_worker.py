"""`python -m tests.bench.timed_worker`: the real worker, whose engine notes when each job's first step begins and ends.

Two lines a job in the file that FIRST_STEPS names: its seed, `begun` or `done`, and seconds since 1970 by this
machine's clock.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sigmafarm_common.config import Config
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.__main__ import main
from sigmafarm_worker.drawing_engine import OnStep, Rendered
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.lane import Lane
from sigmafarm_worker.service import making_engine, supervisor

COMMAND = [sys.executable, "-m", "tests.bench.timed_worker"]
FILE_VARIABLE = "FIRST_STEPS"


class TimedEngine(Engine):
    """The engine, with a note of each job's first step."""

    def __init__(self, *args: Any, **given: Any):
        super().__init__(*args, **given)
        stepper = self._stepper
        advance = stepper._advance

        def noted(lane: Lane) -> bool:
            for slot in lane.slots:
                if slot.joined_at == lane.num_passes:
                    note(slot.request.seed, "begun")
            return advance(lane)

        stepper._advance = noted

    def submit(self, request: RenderRequest, on_step: OnStep | None = None, **given: Any) -> Future[Rendered]:
        def noted(step: int, num_steps: int) -> None:
            if step == 1:
                note(request.seed, "done")
            if on_step is not None:
                on_step(step, num_steps)

        return super().submit(request, noted, **given)


def note(seed: int | None, what: str) -> None:
    with Path(os.environ[FILE_VARIABLE]).open("a") as file:
        file.write(f"{seed} {what} {time.time()}\n")


def make_engine(config: Config, device: str, specs: Mapping[str, ModelSpec]) -> Engine:
    """Return the real engine, timed."""
    made = making_engine.make_engine(config, device, specs)
    return TimedEngine(made.models, made.max_images, broken=made.broken)


if __name__ == "__main__":
    supervisor.WORKER_COMMAND = COMMAND
    sys.exit(main(make_engine=make_engine, command=COMMAND))
