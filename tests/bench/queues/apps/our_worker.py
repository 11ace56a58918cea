"""This farm's worker around an engine that waits, and says of each picture what every contender's job says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from sigmafarm_common.config import Config
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.__main__ import main
from sigmafarm_worker.drawing_engine import OnStep, Rendered
from tests.bench.queues.apps.work import note_begun, note_done
from tests.chaos.simulated_engine import SimulatedEngine, make_engine


class NotedEngine(SimulatedEngine):
    """A simulated engine that writes the ledger. A prompt's last word is the job's number."""

    def submit(
        self,
        request: RenderRequest,
        on_step: OnStep | None = None,
        **given: NDArray[np.uint8] | None,
    ) -> Future[Rendered]:
        number = int(request.prompt.split()[-1])

        def on_noted_step(step: int, num_steps: int) -> None:
            if step == 1:
                note_begun(number)
            if on_step is not None:
                on_step(step, num_steps)

        future = super().submit(request, on_noted_step, **given)
        future.add_done_callback(lambda f: None if f.exception() else note_done(number))
        return future


def make_noted_engine(config: Config, _device: str, specs: Mapping[str, ModelSpec]) -> SimulatedEngine:
    """Return the engine of a worker."""
    return make_engine(config, specs, kind=NotedEngine)


if __name__ == "__main__":
    sys.exit(main(make_engine=make_noted_engine, command=[sys.executable, "-m", "tests.bench.queues.apps.our_worker"]))
