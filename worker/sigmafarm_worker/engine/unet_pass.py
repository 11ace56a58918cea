"""One forward pass of a UNet over rows, the only part of a step that costs. On a GPU some are captured (graph_pass)."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

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

    def __init__(self, model: Model):
        self._unet, self._dtype, self._device = model.unet, model.dtype, model.device
        self.num_builds = 0

    def padded(self, num_rows: int, latent_height: int, latent_width: int) -> int:  # noqa: ARG002 - as asked
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
