"""What is drawn in a race: jobs of one kind, of mixed costs, of every kind; and when they come."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

SEED = 20261129
STEPS = (20, 30, 40, 50, 60, 80)
GUIDANCE = (1.0, 5.0)
SAMPLERS = ("lms", "euler", "dpmpp_2m")
#: Of the sides of a native picture, the smaller size of two.
SMALLER = 0.75


@dataclass(frozen=True)
class Asked:
    """One picture, as every contender is asked for it. All noise levels are Karras'."""

    prompt: str
    seed: int
    num_inference_steps: int
    guidance_scale: float
    #: Pixels of both sides.
    side: int
    sampler: str = "lms"

    @property
    def num_rows(self) -> int:
        """Rows of the UNet's batch that it takes."""
        return 2 if self.guidance_scale > 1 else 1

    @property
    def row_steps(self) -> int:
        """UNet rows over its whole life."""
        return self.num_rows * self.num_inference_steps

    @property
    def key(self) -> str:
        """What pictures must share for a static batch of a pipeline."""
        return f"{self.side}/{self.num_inference_steps}/{self.guidance_scale}/{self.sampler}"

    def said(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Self:
        return cls(**said)

    def request(self) -> dict[str, Any]:
        """Return it as the farm is asked."""
        said = {name: value for name, value in self.said().items() if name != "side"}
        return {**said, "height": self.side, "width": self.side, "karras_sigmas": True}


def homogeneous(num: int, native: int, scale: float = 1.0) -> list[Asked]:
    """Jobs that differ in prompt and seed alone."""
    return [_asked(n, _scaled(50, scale), 5.0, native) for n in range(num)]


def mixed(num: int, native: int, scale: float = 1.0) -> list[Asked]:
    """20 to 80 steps, with guidance and without: twelve kinds of static batches."""
    chance = random.Random(SEED)
    return [_asked(n, _scaled(chance.choice(STEPS), scale), chance.choice(GUIDANCE), native) for n in range(num)]


def varied(num: int, native: int, scale: float = 1.0) -> list[Asked]:
    """The same in two sizes, by three samplers: 72 kinds."""
    chance = random.Random(SEED)
    sides = (native, round(native * SMALLER))
    return [
        _asked(
            n,
            _scaled(chance.choice(STEPS), scale),
            chance.choice(GUIDANCE),
            chance.choice(sides),
            chance.choice(SAMPLERS),
        )
        for n in range(num)
    ]


LOADS: Mapping[str, Callable[..., list[Asked]]] = {"homogeneous": homogeneous, "mixed": mixed, "varied": varied}


def arrivals(num: int, rate: float) -> list[float]:
    """Return when jobs come, in seconds from the first on: a Poisson process of `rate` a second."""
    chance = random.Random(SEED)
    at_s, found = 0.0, []
    for _ in range(num):
        found.append(at_s)
        at_s += chance.expovariate(rate)
    return found


def _scaled(num_steps: int, scale: float) -> int:
    return max(1, round(num_steps * scale))


def _asked(number: int, num_steps: int, guidance: float, side: int, sampler: str = "lms") -> Asked:
    return Asked(f"a red circle on a blue background, study {number}", number, num_steps, guidance, side, sampler)
