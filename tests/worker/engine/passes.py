"""Passes that break, pad, or find no memory; requests of tests that look at an engine's conduct."""

from __future__ import annotations

from typing import Any

import torch

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.graph_pass import bucket
from sigmafarm_worker.engine.unet_pass import EagerPass, UnetPass
from sigmafarm_worker.models import Model


def request(**said: Any) -> RenderRequest:
    return RenderRequest.parse({"prompt": "a cat", "num_inference_steps": 4, "seed": 1, **said})


class BreaksAt(EagerPass):
    """A pass that raises when the first row's timestep is the given one."""

    def __init__(self, model: Model, error: Exception, at_pass: int = 0):
        super().__init__(model)
        self.error, self.left = error, at_pass

    def __call__(self, *args: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left == -1:
            raise self.error
        return super().__call__(*args)


class Padded(EagerPass):
    """An eager pass that pads to the buckets of the GPU's."""

    def padded(self, num_rows: int, latent_height: int, latent_width: int) -> int:
        return bucket(num_rows)


def use_pass(engine: Engine, unet_pass: UnetPass) -> None:
    engine._stepper.unet_passes = dict.fromkeys(engine.models, unet_pass)


class Small(Padded):
    """A device that has memory for so many rows."""

    def __init__(self, model: Model, max_rows: int):
        super().__init__(model)
        self.max_rows, self.refused, self.made = max_rows, list[int](), list[int]()

    def __call__(self, x_RCHW: torch.Tensor, t_R: torch.Tensor, emb_RTD: torch.Tensor) -> torch.Tensor:
        if len(x_RCHW) > self.max_rows:
            self.refused.append(len(x_RCHW))
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert bucket(len(x_RCHW)) == len(x_RCHW), "a captured graph has a bucket's rows"
        self.made.append(len(x_RCHW))
        return super().__call__(x_RCHW, t_R, emb_RTD)
