"""What a job brings beside its request: a picture to start from and a mask, checked and made ready in the thread that
submits.

Nothing here is encoded yet (encoding.py does that, in the engine's thread). All that is random is drawn here, from the
job's generator and in the order of diffusers' pipelines: the sample of the picture's encoding, the first noise, the
sample of what the mask leaves to be seen.

Letters: C H W latent channels and size; pictures are uint8 [height, width, 3], masks uint8 [height, width].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.picture_settings import InpaintingFill, settings_alone
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine.masks import Pasting, Pixels, coarse, prepare
from sigmafarm_worker.engine.noise_rows import NoiseRows

#: Masks count from here on as drawn anew: half of 255, as diffusers rounds.
_HALF = 128


@dataclass(frozen=True, eq=False)
class Plate:
    """One picture for the VAE's encoder, and the noise of the sample that is taken of its answer."""

    #: uint8 [height, width, 3].
    pixels: Pixels
    #: bool [height, width], where it is grey, the middle of the VAE's range; None: nowhere.
    hole: NDArray[np.bool_] | None = None
    #: float32 [C, H, W] on the CPU; None: the mean is taken.
    noise: Tensor | None = None


@dataclass(eq=False)
class Given:
    """What a job starts from. Its plates become latents before it joins a lane."""

    #: The picture; None where nothing of it is started from.
    picture: Plate | None = None
    #: What a model with channels of its own for that sees beside the latents: all but what is drawn anew.
    seen: Plate | None = None
    #: float32 [1, H, W] on the CPU, 1 where is drawn anew; None: everywhere.
    mask: Tensor | None = None
    #: What stands under the mask before it is drawn.
    fill: InpaintingFill = InpaintingFill.ORIGINAL
    #: Whether it starts from noise alone.
    is_noise_alone: bool = False
    #: How the drawn part comes back into the picture; None without a mask.
    pasting: Pasting | None = None
    #: float32 [C, H, W] on the device, once they are encoded.
    picture_latents: Tensor | None = field(default=None, init=False)
    seen_latents: Tensor | None = field(default=None, init=False)

    @property
    def plates(self) -> list[Plate]:
        """What is still to be encoded."""
        return [plate for plate in (self.picture, self.seen) if plate is not None]

    @property
    def is_put_back(self) -> bool:
        """Whether what is outside its mask is put back after each call: a model that sees it keeps it by itself."""
        return self.mask is not None and self.seen is None and self.seen_latents is None

    def take(self, latents: Sequence[Tensor], noise_CHW: Tensor) -> None:
        """Take the latents of the plates, in their order, and let go of these. `noise_CHW` is the job's first."""
        found = iter(latents)
        if self.picture is not None:
            self.picture_latents = self._filled(next(found), noise_CHW)
        if self.seen is not None:
            self.seen_latents = next(found)
        self.picture = self.seen = None

    def _filled(self, picture_CHW: Tensor, noise_CHW: Tensor) -> Tensor:
        if self.mask is None or self.fill in (InpaintingFill.ORIGINAL, InpaintingFill.FILL):
            return picture_CHW
        mask_1HW = self.mask.to(picture_CHW.device)
        under_CHW = noise_CHW.to(picture_CHW.device) if self.fill is InpaintingFill.LATENT_NOISE else 0
        return picture_CHW * (1 - mask_1HW) + under_CHW * mask_1HW

    def finish(self, drawn: Pixels) -> Pixels:
        """Return the picture that is delivered of one that was drawn."""
        return self.pasting.paste(drawn) if self.pasting else drawn


def check_given(request: RenderRequest, size: tuple[int, int], init_image: Any, mask_image: Any) -> None:
    """Refuse what is no picture or mask of the request's size (height, width), and settings that mean nothing without
    one. Raises InvalidRequest with all of them."""
    errors = [*_misfits("init_image", init_image, (*size, 3)), *_misfits("mask_image", mask_image, size)]
    if mask_image is not None and init_image is None:
        errors.append(FieldError("mask_image", "mask_image comes without a picture: give the init_image that it masks"))
    errors += settings_alone(request.said(), has_picture=init_image is not None, has_mask=mask_image is not None)
    if errors:
        raise InvalidRequest(errors)


def _misfits(name: str, array: Any, shape: tuple[int, ...]) -> Iterator[FieldError]:
    wanted = f"must be a NumPy array of uint8 {list(shape)}, the size of the request"
    if array is not None and not isinstance(array, np.ndarray):
        yield FieldError(name, f"{name} is of type {type(array).__name__}: {wanted}")
    elif array is not None and (array.dtype != np.uint8 or array.shape != shape):
        yield FieldError(name, f"{name} is {array.dtype} {list(array.shape)}: {wanted}")


def draw_given(
    request: RenderRequest,
    init_image: Pixels | None,
    mask_image: Pixels | None,
    rows: NoiseRows,
    *,
    sees_picture: bool,
    factor: int,
) -> tuple[Given | None, Tensor]:
    """Return what a job starts from, None if it brings nothing, and its first noise [C, H, W].

    `sees_picture` says whether its model has channels of its own for what a mask leaves, `factor` is pixels a latent.
    """
    if init_image is None or mask_image is None:
        picture = Plate(init_image.copy(), noise=rows.draw_shared()) if init_image is not None else None
        noise_CHW = rows.draw()
        seen = _nothing(rows, factor) if sees_picture else None
        is_given = picture is not None or seen is not None
        return (Given(picture, seen, is_noise_alone=picture is None) if is_given else None), noise_CHW
    return _draw_masked(request, init_image.copy(), mask_image.copy(), rows, sees_picture=sees_picture, factor=factor)


def _draw_masked(
    request: RenderRequest, init_image: Pixels, mask_image: Pixels, rows: NoiseRows, *, sees_picture: bool, factor: int
) -> tuple[Given, Tensor]:
    pixels, mask, pasting = prepare(request, init_image, mask_image)
    hole, is_noise_alone = mask >= _HALF, request.first_step == 0
    picture = None if sees_picture and is_noise_alone else Plate(pixels, noise=rows.draw_shared())
    noise_CHW = rows.draw()
    # diffusers encodes what the mask leaves also where nobody looks at it: the generator goes on behind that.
    seen = Plate(pixels, hole, rows.draw_shared())
    given = Given(
        picture,
        seen if sees_picture else None,
        coarse(hole, factor),
        InpaintingFill(request.inpainting_fill or InpaintingFill.ORIGINAL),
        is_noise_alone,
        pasting,
    )
    return given, noise_CHW


def _nothing(rows: NoiseRows, factor: int) -> Plate:
    """Return what a model with channels of its own sees without a mask: a picture of which all is drawn anew."""
    _, H, W = rows.shape
    size = (H * factor, W * factor)
    return Plate(np.zeros((*size, 3), np.uint8), np.ones(size, np.bool_))
