"""One forward pass of a UNet over rows, the only part of a step that costs. On a GPU some are captured (graph_pass)."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from sigmafarm_worker.engine.compiling import CompiledUnet
from sigmafarm_worker.models import Model


class UnetPass(Protocol):
    """`pass(x_RCHW, t_R, emb_RTD, mask_RT) -> out_RCHW`, float32 in and out. The mask says which of its tokens a row
    has; left out where all rows have all."""

    @property
    def num_builds(self) -> int:
        """Graphs made so far."""
        ...

    def padded(self, num_rows: int, latent_height: int, latent_width: int) -> int:
        """Return how many rows a pass over `num_rows` really takes."""
        ...

    def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
        """Build all that passes of this size will need."""
        ...

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor: ...


class EagerPass:
    """Kernel by kernel, exactly the rows there are."""

    def __init__(self, model: Model, *, is_compiled: bool = False):
        """With `is_compiled`, a warm-up compiles the UNet for the size that is warmed up."""
        self._unet, self._dtype, self._device = model.unet, model.dtype, model.device
        self._compiled = CompiledUnet(model.unet) if is_compiled else None
        if self._compiled is not None:
            self._unet = self._compiled
        self._channels, self._num_tokens, self._width = (
            model.num_channels,
            model.prompts.num_tokens,
            model.prompts.width,
        )
        self.num_builds = 0

    def padded(self, num_rows: int, latent_height: int, latent_width: int) -> int:  # noqa: ARG002 - as asked
        return num_rows

    @torch.inference_mode()
    def warm_up(self, latent_height: int, latent_width: int, max_rows: int) -> None:
        """Compile, if that is asked for; else do nothing: the first pass is as good as any."""
        if self._compiled is not None:
            size = (latent_height, latent_width)
            self._compiled.compile_for(*size, max_rows, lambda num_rows: self._forward(*self._rows(num_rows, *size)))

    def _rows(self, num_rows: int, latent_height: int, latent_width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return tensors [R, C, H, W], [R] and [R, T, D] for a pass to read."""
        t = torch.zeros(num_rows, device=self._device)
        x = t.new_zeros(num_rows, self._channels, latent_height, latent_width, dtype=self._dtype)
        return x, t, t.new_zeros(num_rows, self._num_tokens, self._width, dtype=self._dtype)

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        assert x_RCHW.shape[0] == t_R.shape[0] == emb_RTD.shape[0]
        return self._forward(x_RCHW.to(self._dtype), t_R, emb_RTD, mask_RT).float()

    def _forward(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor, mask_RT: Tensor | None = None) -> Tensor:
        # Timesteps stay float32: fp16 cannot hold 978.612.
        said: dict[str, Any] = {"encoder_hidden_states": emb_RTD, "encoder_attention_mask": mask_RT}
        return self._unet(x_RCHW, t_R, **said, return_dict=False)[0]
