"""CUDA graphs of an engine: where they are captured, the memory that they share, and whether there is room for more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from sigmafarm_worker.engine.memory import CudaMemory

#: A pass over tensors at fixed addresses, and its replay: each call computes the output, at a fixed address too.
Forward = Callable[[], Tensor]


class Graphs(Protocol):
    """Captures passes. A stand-in for tests needs no GPU."""

    def peak_bytes(self, forward: Forward) -> int:
        """Make a pass and return the memory that it took beyond what was taken before, at its peak."""
        ...

    def free_bytes(self) -> int:
        """Return the memory that a capture could take."""
        ...

    def capture(self, forward: Forward) -> Forward:
        """Return the pass captured. Raises what the capture raises; then `drop` what shares its memory."""
        ...

    def drop(self) -> None:
        """Capture into new memory from now on: the old goes with the last graph in it."""
        ...


class CudaGraphs:
    """Graphs on a GPU. One stream for all captures, since cuBLAS keeps a workspace for each stream that it has seen;
    one pool for all graphs, since none runs beside another and each output is copied before the next replay."""

    def __init__(self, device: torch.device):
        self._device, self._memory = device, CudaMemory(device)
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def peak_bytes(self, forward: Forward) -> int:
        return self._memory.peak_bytes(lambda: self._on_stream(forward))

    def free_bytes(self) -> int:
        return self._memory.free_bytes()  # what the allocator keeps for eager passes is of no use to a graph

    def _on_stream(self, forward: Forward) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            forward()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def capture(self, forward: Forward) -> Forward:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            out = forward()

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay

    def drop(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
