"""A UNet of which torch.compile has made kernels of its own: norms, activations and residuals in one go, and no copies
between layouts. The same numbers, up to rounding.

Compiling takes minutes, in which nobody can be drawn: so it is asked for (`compile_unet`), happens at the warm-up, and
holds for the size that is warmed up. What was compiled once is read from the disk at the next start. Other sizes, and
whatever cannot be compiled here, run as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sigmafarm_worker.engine.failures import is_broken, is_out_of_memory
from sigmafarm_worker.models.divisions import put_back_divisions
from sigmafarm_worker.telling import first_line, tell

#: Numbers of rows that a warm-up passes: torch makes kernels of one row, and of few and of many, apart.
FEW_ROWS = 2


class CompiledUnet:
    """Stands in for a UNet: compiled for the sizes that it was told, eager for all others."""

    def __init__(self, unet: Any, compile_network: Callable[..., Any] = torch.compile):
        put_back_divisions(unet)
        self._eager = unet
        self._compiled = compile_network(unet, dynamic=True)
        #: Latent heights and widths that it is compiled for.
        self.sizes: set[tuple[int, int]] = set()

    def __call__(
        self, x_RCHW: Tensor, t_R: Tensor, *, encoder_attention_mask: Tensor | None = None, **said: Any
    ) -> Any:
        is_compiled = encoder_attention_mask is None and tuple(x_RCHW.shape[2:]) in self.sizes
        network = self._compiled if is_compiled else self._eager
        return network(x_RCHW, t_R, encoder_attention_mask=encoder_attention_mask, **said)

    def compile_for(self, latent_height: int, latent_width: int, max_rows: int, run: Callable[[int], object]) -> None:
        """Compile for a size; `run` makes a pass over so many rows of it. Where that fails, the size stays eager.
        Raises what a broken device raises, and memory that runs out."""
        size = (latent_height, latent_width)
        self.sizes.add(size)
        try:
            for num_rows in sorted({max_rows, min(FEW_ROWS, max_rows), 1}, reverse=True):
                run(num_rows)
        except Exception as error:  # whatever keeps it from being compiled: no compiler, an operation it does not know
            self.sizes.discard(size)
            if is_out_of_memory(error) or is_broken(error):
                raise
            cure = "install a C++ compiler, or unset SIGMAFARM_COMPILE_UNET"
            tell("warning", "engine.not_compiled", error=first_line(error), cure=cure)
