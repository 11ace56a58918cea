"""Which of torch's attention kernels a model is drawn with: the one that is fastest on this device, as measured.

The winner hangs on the device and on the width of a model's heads (on Hopper cuDNN's is about twice as fast as
FlashAttention 2, on Ampere slower), so that no list of devices is kept here: each candidate makes a few whole passes at
warm-up. All compute the same, up to the rounding of half precision.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sigmafarm_worker.engine.failures import is_broken, is_out_of_memory
from sigmafarm_worker.telling import first_line, tell

#: Kernels in the order in which torch is to try them: it takes the first that knows the case. None: torch's own order.
Order = tuple[SDPBackend, ...]
CANDIDATES = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
#: Passes of each candidate: one that does not count, and those of which the median does.
NUM_WARM_UPS, NUM_MEASURED = 1, 3
#: The part of torch's own time that a candidate must save: less is noise.
LEAST_GAIN = 0.03


class Stopwatch(Protocol):
    """Says how long work takes on a device. A stand-in for tests needs no GPU."""

    def seconds(self, work: Callable[[], object]) -> float:
        """Do some work and return how long the device was at it."""
        ...


class CudaStopwatch:
    """A GPU's own clock."""

    def seconds(self, work: Callable[[], object]) -> float:
        begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        work()
        done.record()
        done.synchronize()
        return begun.elapsed_time(done) / 1000


def in_order(order: Order) -> AbstractContextManager[object]:
    """Let torch try attention's kernels in this order; in its own, where none is said."""
    return sdpa_kernel(list(order), set_priority=True) if order else nullcontext()


def fastest(work: Callable[[], object], stopwatch: Stopwatch) -> Order:
    """Return the order in which some work is done fastest. Raises what a broken device raises, and what the work raises
    in torch's own order."""
    own_s = _median_s(work, (), stopwatch)
    best, best_s = Order(), own_s * (1 - LEAST_GAIN)
    for first in CANDIDATES:
        order = (first, *(each for each in CANDIDATES if each is not first), SDPBackend.MATH)
        try:
            took_s = _median_s(work, order, stopwatch)
        except Exception as error:  # a kernel that does not know this device or model is no candidate
            if is_broken(error) and not is_out_of_memory(error):
                raise
            tell("warning", "engine.attention_not_measured", kernel=first.name, error=first_line(error))
            continue
        if took_s < best_s:
            best, best_s = order, took_s
    tell("info", "engine.attention", kernel=best[0].name if best else "torch's own", ms=round(1000 * best_s, 2))
    return best


def _median_s(work: Callable[[], object], order: Order, stopwatch: Stopwatch) -> float:
    with in_order(order):
        times: Sequence[float] = [stopwatch.seconds(work) for _ in range(NUM_WARM_UPS + NUM_MEASURED)]
    return statistics.median(times[NUM_WARM_UPS:])
