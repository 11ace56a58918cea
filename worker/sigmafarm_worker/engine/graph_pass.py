"""A UNet pass as a captured CUDA graph, where that pays: where the device would wait for its kernels' launches.

A small batch is bound by the launches of about 1,100 kernels; a captured graph replays them in one. A pass over many
rows, or over large pictures, keeps the device busy anyway and runs eagerly. So does a size that nobody has drawn yet: a
capture takes 0.2 to 3 seconds, in which every lane waits, so that a size is captured when it has earned it.

A graph has a fixed number of rows, so rows are padded to the next bucket: every count up to 8, then every even one.
Rows of guided jobs come in pairs, so that a lane pads only while it holds an odd number of unguided ones, and by one.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sigmafarm_worker.engine.attention import Order, Stopwatch, fastest, in_order
from sigmafarm_worker.engine.failures import free_cached, is_broken, is_of_a_capture
from sigmafarm_worker.engine.graphs import Forward, Graphs
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model
from sigmafarm_worker.telling import first_line, tell

#: Up to this many rows, every count has a graph of its own.
NUM_EXACT_ROWS = 8
#: Latent pixels of all rows up to which a pass is bound by launches: 8 rows of 64 x 64.
LAUNCH_BOUND_PIXELS = 8 * 64 * 64
#: Eager passes after which a size has earned its graph: those of two pictures or so.
NUM_TO_EARN = 100
#: Graphs kept; the least recently used one goes first.
MAX_GRAPHS = 80
#: Sizes whose passes are counted.
MAX_COUNTED = 1000
#: Passes before a capture, in which libraries choose their kernels.
NUM_EAGER_WARM_UPS = 2
#: The share of the free memory that a capture may be expected to take.
MOST_OF_FREE = 0.8


class Size(NamedTuple):
    """What a graph is captured for."""

    num_rows: int
    height: int
    width: int
    num_tokens: int
    has_mask: bool


@dataclass(frozen=True)
class _Captured:
    """A captured pass and the tensors that it reads, at fixed addresses."""

    replay: Forward
    #: [R, C, H, W], [R] and [R, T, D].
    x: Tensor
    t: Tensor
    emb: Tensor
    #: [R, T], where rows differ in the tokens that they have.
    mask: Tensor | None


class GraphPass(EagerPass):
    """Replays a graph where there is one for the size, and runs eagerly where there is none."""

    def __init__(self, model: Model, graphs: Graphs, stopwatch: Stopwatch | None = None, *, is_compiled: bool = False):
        """With a stopwatch, a warm-up measures which attention is fastest."""
        super().__init__(model, is_compiled=is_compiled)
        self._graphs, self._stopwatch = graphs, stopwatch
        #: In which order torch tries attention's kernels.
        self._attention: Order = ()
        self._kept: OrderedDict[Size, _Captured] = OrderedDict()
        #: Eager passes by size, since the last try to capture it.
        self._num_eager: Counter[Size] = Counter()

    def padded(self, num_rows: int, latent_height: int, latent_width: int) -> int:
        fits = bucket(num_rows)
        return fits if fits * latent_height * latent_width <= LAUNCH_BOUND_PIXELS else num_rows

    @torch.inference_mode()
    def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
        # Memory that is too small for the largest pass shows here; libraries choose their kernels.
        largest = self._inputs(Size(max_rows, latent_height, latent_width, self._num_tokens, has_mask=False))
        self._forward(*largest)
        if self._stopwatch is not None:
            self._attention = ()
            self._attention = fastest(lambda: self._forward(*largest), self._stopwatch)
        super().warm_up(latent_height, latent_width, max_rows)
        # The largest first: the smaller ones then fit into the memory that it took.
        for num_rows in sorted(
            {self.padded(n, latent_height, latent_width) for n in range(1, max_rows + 1)}, reverse=True
        ):
            size = Size(num_rows, latent_height, latent_width, self._num_tokens, has_mask=False)
            if _is_bound_by_launches(size):
                self._try_to_capture(size)

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        num_rows, _, height, width = x_RCHW.shape
        captured = self._captured(Size(num_rows, height, width, emb_RTD.shape[1], has_mask=mask_RT is not None))
        if captured is None:
            return super().__call__(x_RCHW.contiguous(memory_format=torch.channels_last), t_R, emb_RTD, mask_RT)
        if captured.mask is not None and mask_RT is not None:
            captured.mask.copy_(mask_RT)
        captured.x.copy_(x_RCHW)
        captured.t.copy_(t_R)
        captured.emb.copy_(emb_RTD)
        return captured.replay().to(torch.float32, copy=True)

    def _forward(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        with in_order(self._attention):
            return super()._forward(x_RCHW, t_R, emb_RTD, mask_RT)

    def _captured(self, size: Size) -> _Captured | None:
        """Return the graph of a size; None where it has none, and where it has not earned one yet."""
        if size not in self._kept:
            if not _is_bound_by_launches(size):
                return None
            self._num_eager[size] += 1
            if self._num_eager[size] <= NUM_TO_EARN:
                if len(self._num_eager) > MAX_COUNTED:
                    self._num_eager.clear()
                return None
            self._try_to_capture(size)
        if size in self._kept:
            self._kept.move_to_end(size)
        return self._kept.get(size)

    def _try_to_capture(self, size: Size) -> None:
        """Capture a size if there is room. What keeps it from a graph costs nobody a picture: it runs eagerly, and is
        tried again when it has earned it again. Raises what a broken device raises."""
        self._num_eager.pop(size, None)
        try:
            captured = self._capture(size)
        except Exception as error:  # whatever keeps a size from its graph
            if is_broken(error) and not is_of_a_capture(error):
                raise
            self._kept.clear()  # they share the memory in which the capture failed
            self._graphs.drop()
            free_cached(error)
            tell("warning", "engine.no_graph", size=str(tuple(size)), error=first_line(error))
            return
        if captured is None:
            tell("warning", "engine.no_room_for_a_graph", size=str(tuple(size)))
            return
        self.num_builds += 1
        self._kept[size] = captured
        if len(self._kept) > MAX_GRAPHS:
            self._kept.popitem(last=False)

    @torch.inference_mode()
    def _capture(self, size: Size) -> _Captured | None:
        """Return the graph of a size, None where there is no room for it."""
        x, t, emb, mask = inputs = self._inputs(size)

        def forward() -> Tensor:
            return self._forward(*inputs)

        peak_bytes = max(self._graphs.peak_bytes(forward) for _ in range(NUM_EAGER_WARM_UPS))
        # Graphs share their memory: only one that is larger than all others takes more.
        is_largest = all(size.num_rows * size.height * size.width > k.num_rows * k.height * k.width for k in self._kept)
        if is_largest and peak_bytes > MOST_OF_FREE * self._graphs.free_bytes():
            return None
        return _Captured(self._graphs.capture(forward), x, t, emb, mask)

    def _inputs(self, size: Size) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return tensors [R, C, H, W], [R], [R, T, D] and [R, T] for a pass to read."""
        num_rows, device = size.num_rows, self._device
        x, t, emb = self._rows(num_rows, size.height, size.width)
        if size.num_tokens != self._num_tokens:
            emb = emb.new_zeros(num_rows, size.num_tokens, self._width)
        mask = torch.ones(num_rows, size.num_tokens, dtype=torch.bool, device=device) if size.has_mask else None
        return x.contiguous(memory_format=torch.channels_last), t, emb, mask


def bucket(num_rows: int) -> int:
    """Return the number of rows of the graph that serves `num_rows`."""
    return num_rows if num_rows <= NUM_EXACT_ROWS else num_rows + num_rows % 2


def _is_bound_by_launches(size: Size) -> bool:
    return size.num_rows * size.height * size.width <= LAUNCH_BOUND_PIXELS
