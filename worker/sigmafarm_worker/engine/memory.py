"""How many pictures a GPU's memory holds, and how large one may be: measured once the models are resident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from sigmafarm_worker.engine.unet_pass import UnetPass
from sigmafarm_worker.models import Model

#: Pictures of native size that the VAE takes at once: bounds its memory, which is larger than the UNet's.
MAX_DECODED_AT_ONCE = 4
#: What the allocator takes beyond what is in use: of the UNet's passes, and of the VAE's.
PASS_MARGIN, DECODE_MARGIN = 1.25, 1.3


class Memory(Protocol):
    """What a device has and what work takes of it. A stand-in for tests needs no GPU."""

    def free_bytes(self) -> int:
        """Return what nobody has taken."""
        ...

    def peak_bytes(self, work: Callable[[], object]) -> int:
        """Do some work and return the memory that it took beyond what was taken before, at its peak."""
        ...


class CudaMemory:
    """A GPU's."""

    def __init__(self, device: torch.device):
        self._device = device

    def free_bytes(self) -> int:
        torch.cuda.empty_cache()  # what the allocator keeps is free too
        return torch.cuda.mem_get_info(self._device)[0]

    def peak_bytes(self, work: Callable[[], object]) -> int:
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before


@dataclass(frozen=True)
class Room:
    """What was measured of one model: bytes that are free, that a pass takes for a row of native size, and that
    decoding one such picture takes."""

    free_bytes: int
    row_bytes: int
    decode_bytes: int
    native_pixels: int

    @property
    def num_images(self) -> int:
        """Return how many pictures with guidance fit, at least one. Decoding comes between passes and takes the same
        memory anew, so that the larger of the two counts, but what the allocator holds of both adds up."""
        left = self.free_bytes - DECODE_MARGIN * MAX_DECODED_AT_ONCE * self.decode_bytes
        return max(1, int(left / (PASS_MARGIN * 2 * max(1, self.row_bytes))))

    @property
    def max_pixels(self) -> int:
        """Return the largest picture for which a pass over a single row fits: passes are split into rows and pictures
        decoded in tiles where there is no other way."""
        return int(self.native_pixels * self.free_bytes / max(1, self.row_bytes))


def measure(model: Model, unet_pass: UnetPass, memory: Memory) -> Room:
    """Draw next to nothing with a model, and return what it takes. Raises what that raises."""
    height, width = model.height // model.vae_factor, model.width // model.vae_factor
    x = torch.zeros(2, model.num_channels, height, width, device=model.device)
    t = torch.zeros(2, device=model.device)
    emb = torch.zeros(2, model.prompts.num_tokens, model.prompts.width, dtype=model.dtype, device=model.device)
    pass_bytes = memory.peak_bytes(lambda: unet_pass(x, t, emb))
    decode_bytes = memory.peak_bytes(lambda: model.decode(x[:1, :4]))
    return Room(memory.free_bytes(), pass_bytes // 2, decode_bytes, model.height * model.width)
