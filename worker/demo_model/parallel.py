"""Train one set of weights in a few single-thread processes that average one flat gradient.

Beside any other load, two processes of one thread beat one process of two: threads wait for each other in every
operation, processes once a step.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn


@dataclass(frozen=True)
class Member:
    """One process of a training run."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Say whether this process writes the checkpoints and the log."""
        return self.rank == 0

    def average(self, flat: Tensor) -> None:
        """Replace a tensor by its mean over all processes."""
        if self.size > 1:
            dist.all_reduce(flat)
            flat /= self.size

    def wait(self) -> None:
        """Return once every process has come here."""
        if self.size > 1:
            dist.barrier()


def run_together(size: int, work: Callable[..., None], *args: Any) -> None:
    """Call `work(member, *args)` in `size` processes and return when all are done; raise if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_enter, args=(size, str(Path(folder) / "meeting"), work, args), nprocs=size)


def _enter(rank: int, size: int, meeting: str, work: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    work(Member(rank, size), *args)
    if size > 1:
        dist.destroy_process_group()


class FlatParameters:
    """All parameters of some modules in one tensor, their gradients in another, and a moving average in a third.

    The modules keep working: their parameters become views. One slot at the end of the gradient carries the clock, so
    that all processes agree on the time without a message of its own.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        self._parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        num_values = sum(p.numel() for p in self._parameters)
        self.values = torch.cat([p.detach().reshape(-1) for p in self._parameters])
        self.average = self.values.clone()
        self._gradient = torch.zeros(num_values + 1)
        self._bind(self.values)
        offset = 0
        for p in self._parameters:
            p.grad = self._gradient[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        self.leaf = nn.Parameter(self.values)
        self.leaf.grad = self._gradient[:-1]

    def _bind(self, flat: Tensor) -> None:
        offset = 0
        for p in self._parameters:
            p.data = flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()

    def zero_gradient(self) -> None:
        """Forget the last gradient; call before every backward pass."""
        self._gradient.zero_()

    def exchange(self, member: Member, elapsed_s: float) -> float:
        """Average the gradient over all processes, clip it to norm 1 and give the mean of the clocks."""
        self._gradient[-1] = elapsed_s
        member.average(self._gradient)
        elapsed_s = float(self._gradient[-1])
        norm = float(self._gradient[:-1].norm())
        if norm > 1:
            self._gradient /= norm
        return elapsed_s

    def follow(self, decay: float) -> None:
        """Move the average towards the values."""
        self.average.lerp_(self.values, 1 - decay)

    def use_average(self) -> None:
        """Make the modules compute with the averaged values from now on."""
        self._bind(self.average)
