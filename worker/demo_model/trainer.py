"""One training run: steps, a learning rate that follows steps or the clock, and checkpoints that survive a kill."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from demo_model.parallel import FlatParameters, Member

#: Steps over which the learning rate rises from zero.
WARM_UP_STEPS = 150
#: Seconds between two checkpoints.
CHECKPOINT_EVERY_S = 100
#: Steps between two lines of the log.
LOG_EVERY = 50


@dataclass(frozen=True)
class Budget:
    """How long a stage may take: it ends at the first of the two, and its learning rate has decayed by then."""

    steps: int
    minutes: float = math.inf

    def fraction(self, step: int, elapsed_s: float) -> float:
        """Give how much of the budget is used, from 0 to 1."""
        return min(1.0, max(step / self.steps, elapsed_s / 60 / self.minutes))


@dataclass(frozen=True)
class Rate:
    """A cosine from `peak` to `final`, with Adam's decay of the second moment."""

    peak: float
    final: float
    ema_decay: float
    beta2: float = 0.99

    def at(self, step: int, fraction: float) -> float:
        """Give the learning rate of a step at this fraction of the budget."""
        cosine = self.final + (self.peak - self.final) * 0.5 * (1 + math.cos(math.pi * fraction))
        return cosine * min(1.0, (step + 1) / WARM_UP_STEPS)


#: Gives the loss of one step from the step's number and the fraction of the budget.
Loss = Callable[[int, float], Tensor]


class Trainer:
    """Runs a loss over modules until the budget is used; resumes from its checkpoint when there is one."""

    def __init__(self, member: Member, modules: list[nn.Module], rate: Rate, budget: Budget, checkpoint: Path) -> None:
        self._member, self._rate, self._budget, self._checkpoint = member, rate, budget, checkpoint
        self.flat = FlatParameters(modules)
        self._adam = torch.optim.AdamW([self.flat.leaf], rate.peak, (0.9, rate.beta2), weight_decay=0.0, fused=True)
        self._step, self._elapsed_s = 0, 0.0
        self._resume()

    def run(self, loss: Loss) -> None:
        """Train to the end of the budget, then leave the modules with the averaged weights."""
        started = saved = time.monotonic() - self._elapsed_s
        recent: list[float] = []
        while (fraction := self._budget.fraction(self._step, self._elapsed_s)) < 1:
            self.flat.zero_gradient()
            value = loss(self._step, fraction)
            value.backward()
            self._elapsed_s = self.flat.exchange(self._member, time.monotonic() - started)
            self._adam.param_groups[0]["lr"] = self._rate.at(self._step, fraction)
            self._adam.step()
            self._step += 1
            self.flat.follow(min(self._rate.ema_decay, (1 + self._step) / (10 + self._step)))
            recent.append(value.item())
            if self._member.is_first and self._step % LOG_EVERY == 0:
                mean = sum(recent[-LOG_EVERY:]) / LOG_EVERY
                print(f"step {self._step} {fraction:.3f} loss {mean:.4f} {self._elapsed_s:.0f} s", flush=True)
            if self._member.is_first and time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self.save()
                saved = time.monotonic()
        if self._member.is_first:
            self.save()
        self.flat.use_average()
        self._member.wait()

    def save(self) -> None:
        """Write the checkpoint; a reader never sees half of one."""
        state = {"values": self.flat.values, "average": self.flat.average, "adam": self._adam.state_dict()}
        state |= {"step": self._step, "elapsed_s": self._elapsed_s}
        unfinished = self._checkpoint.with_suffix(".part")
        torch.save(state, unfinished)
        os.replace(unfinished, self._checkpoint)

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, weights_only=True)
        self.flat.values.copy_(state["values"])
        self.flat.average.copy_(state["average"])
        self._adam.load_state_dict(state["adam"])
        self._step, self._elapsed_s = state["step"], state["elapsed_s"]
