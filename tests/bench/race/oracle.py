"""The oracle: bare UNet passes of the rows that a load has, in the fullest batch, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from sigmafarm_common.models_file import ModelSpec
from sigmafarm_worker.models import load_model
from tests.bench.engine_bench import matmul_rate, oracle_row_s, unet_flops
from tests.bench.race.loads import Asked

#: Rows of a full pass: sixteen pictures with guidance.
NUM_ROWS = 32


class Oracle:
    """The model once more, in this process."""

    def __init__(self, folder: Path, name: str, device: str, threads: int):
        torch.set_num_threads(threads)
        self.device = device
        self.model = load_model(ModelSpec(name=name, path=str(folder)), device=device)
        self.row_flops = unet_flops(self.model)

    def seconds(self, asked: Sequence[Asked]) -> float:
        """Measure a row, and return what all rows of a load of native pictures take."""
        assert {each.side for each in asked} == {self.model.height}
        return oracle_row_s(self.model, NUM_ROWS, clock=time.perf_counter) * sum(each.row_steps for each in asked)

    def matmul_rate(self) -> float:
        """Measure the rate of a large product, in FLOP/s."""
        return matmul_rate(self.device, self.model.dtype)
