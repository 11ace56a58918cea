"""One forward pass of a UNet over rows, the only part of a step that costs: eager on a CPU, captured on a GPU.

On a GPU a small batch is bound by the launches of about 1,100 kernels; a captured CUDA graph replays them in one. A
graph has a fixed number of rows, so rows are padded to the next bucket: every count up to 8, then every even one. Rows
of guided jobs come in pairs, so that a lane pads only while it holds an odd number of unguided jobs, and by one row.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from sigmafarm_worker.models import Model

#: Up to this many rows, every count has a graph of its own.
NUM_EXACT_ROWS = 8
#: Graphs kept; the least recently used one goes first. One size of 16 guided slots needs 20.
MAX_GRAPHS = 80
#: Eager passes before a capture, in which libraries choose their kernels.
NUM_EAGER_WARM_UPS = 2


class UnetPass(Protocol):
    """`pass(x_RCHW, t_R, emb_RTD, mask_RT) -> out_RCHW`, float32 in and out. The mask says which of its tokens a row
    has; left out where all rows have all."""

    @property
    def num_builds(self) -> int:
        """Graphs or compilations made so far; must stand still once the worker is ready."""
        ...

    def padded(self, num_rows: int) -> int:
        """Return how many rows a pass over `num_rows` really takes."""
        ...

    def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
        """Build all that passes of this size will need."""
        ...

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor: ...


def make_unet_pass(model: Model) -> UnetPass:
    """Return the pass that suits the model's device."""
    return GraphPass(model) if model.device.type == "cuda" else EagerPass(model)


class EagerPass:
    """Kernel by kernel, exactly the rows there are."""

    def __init__(self, model: Model):
        self._unet, self._dtype, self._device = model.unet, model.dtype, model.device
        self.num_builds = 0

    def padded(self, num_rows: int) -> int:
        return num_rows

    def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
        """Do nothing: the first pass is as good as any."""

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        assert x_RCHW.shape[0] == t_R.shape[0] == emb_RTD.shape[0]
        return self._forward(x_RCHW.to(self._dtype), t_R, emb_RTD, mask_RT).float()

    def _forward(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        # Timesteps stay float32: fp16 cannot hold 978.612.
        said: dict[str, Any] = {"encoder_hidden_states": emb_RTD, "encoder_attention_mask": mask_RT}
        return self._unet(x_RCHW, t_R, **said, return_dict=False)[0]


@dataclass(frozen=True)
class _Graph:
    """A captured pass and the tensors that it reads and writes, at fixed addresses."""

    graph: torch.cuda.CUDAGraph
    #: [R, C, H, W], [R] and [R, T, D]: what it reads.
    x: Tensor
    t: Tensor
    emb: Tensor
    #: [R, T], where rows differ in the tokens that they have.
    mask: Tensor | None
    #: [R, C, H, W]: what it writes.
    out: Tensor


class _Size(NamedTuple):
    """What a graph is captured for."""

    num_rows: int
    height: int
    width: int
    num_tokens: int
    has_mask: bool


class GraphPass(EagerPass):
    """One replay of a captured graph, at a bucket's number of rows."""

    def __init__(self, model: Model):
        super().__init__(model)
        self._graphs: OrderedDict[_Size, _Graph] = OrderedDict()
        self._num_tokens, self._width = model.prompts.num_tokens, model.prompts.width
        self._channels = model.num_channels
        # One pool for all graphs: none runs beside another, and each output is copied before the next replay.
        self._pool = torch.cuda.graph_pool_handle()

    def padded(self, num_rows: int) -> int:
        return bucket(num_rows)

    def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
        # The largest first: the smaller ones then fit into the memory that it took.
        for num_rows in sorted({bucket(n) for n in range(1, max_rows + 1)}, reverse=True):
            self._graph(_Size(num_rows, latent_height, latent_width, self._num_tokens, has_mask=False))

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        assert len(x_RCHW) == bucket(len(x_RCHW)), "the lane pads to a bucket"
        num_rows, _, height, width = x_RCHW.shape
        graph = self._graph(_Size(num_rows, height, width, emb_RTD.shape[1], has_mask=mask_RT is not None))
        if graph.mask is not None and mask_RT is not None:
            graph.mask.copy_(mask_RT)
        graph.x.copy_(x_RCHW)
        graph.t.copy_(t_R)
        graph.emb.copy_(emb_RTD)
        graph.graph.replay()
        return graph.out.to(torch.float32, copy=True)

    def _graph(self, size: _Size) -> _Graph:
        if size not in self._graphs:
            self._graphs[size] = self._capture(size)
            self.num_builds += 1
        self._graphs.move_to_end(size)
        if len(self._graphs) > MAX_GRAPHS:
            self._graphs.popitem(last=False)
        return self._graphs[size]

    @torch.inference_mode()
    def _capture(self, size: _Size) -> _Graph:
        num_rows, device = size.num_rows, self._device
        x = torch.zeros(num_rows, self._channels, size.height, size.width, dtype=self._dtype, device=device)
        x = x.contiguous(memory_format=torch.channels_last)
        t = torch.zeros(num_rows, device=device)
        emb = torch.zeros(num_rows, size.num_tokens, self._width, dtype=self._dtype, device=device)
        mask = torch.ones(num_rows, size.num_tokens, dtype=torch.bool, device=device) if size.has_mask else None
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(NUM_EAGER_WARM_UPS):
                self._forward(x, t, emb, mask)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            out = self._forward(x, t, emb, mask)
        return _Graph(graph, x, t, emb, mask, out)


def bucket(num_rows: int) -> int:
    """Return the number of rows of the graph that serves `num_rows`."""
    return num_rows if num_rows <= NUM_EXACT_ROWS else num_rows + num_rows % 2


class Pace:
    """Keeps the host at most one pass ahead of the device, so that progress and signs of life are true.

    Without it a host would queue steps without bound; waiting for each pass would leave the device idle between them.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._previous: torch.cuda.Event | None = None

    def tick(self) -> None:
        """Call after each pass was given to the device. Device-to-host sync with the pass before."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        if self._previous is not None:
            self._previous.synchronize()
        self._previous = event
