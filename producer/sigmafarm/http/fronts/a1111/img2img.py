"""What an img2img request says beside what a txt2img request does: pictures, a mask, and how both are taken.

The rules are AUTOMATIC1111's: one picture is drawn on n_iter x batch_size times, each of several n_iter times; the mask
is all of theirs, and white (or opaque) where is drawn anew. Its defaults are too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum
from typing import Annotated, Any, Self

from PIL import Image
from pydantic import Field

from sigmafarm.http.actions.images import store_picture
from sigmafarm.http.fronts.a1111.asked import MAX_NUM, Txt2Img
from sigmafarm.http.fronts.picture_texts import read_base64
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.errors import FieldError, InvalidPicture, InvalidRequest, TooLarge
from sigmafarm_common.picture_settings import OF_A_MASK
from sigmafarm_common.uploads.reading import decode


class ResizeMode(IntEnum):
    """How a picture of another size comes to that of the job."""

    STRETCH = 0
    CROP = 1
    #: Its edges are drawn out.
    FILL = 2
    #: In the latents: not here, the picture is stretched.
    LATENT = 3


Radius = Annotated[float, Field(ge=0, le=256)]


class Img2Img(Txt2Img):
    """A request."""

    init_images: Annotated[list[str], Field(min_length=1, max_length=MAX_NUM)]
    mask: str | None = None
    resize_mode: ResizeMode = ResizeMode.STRETCH
    denoising_strength: float | None = None
    mask_blur: Radius | None = None
    mask_blur_x: Radius | None = None
    inpainting_fill: int | str | None = None
    inpaint_full_res: bool | None = None
    width: int | None = None
    height: int | None = None

    @property
    def num(self) -> int:
        """Pictures of each row: see rows."""
        return (self.n_iter or 1) * (1 if len(self.init_images) > 1 else self.batch_size or 1)

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """Build from a body. Raises InvalidRequest with all bad fields."""
        asked = super().of(said)
        if (num := asked.num * len(asked.init_images)) > MAX_NUM:
            message = f"n_iter x init_images is {num}: at most {MAX_NUM} at once; submit more to /v1/batches"
            raise InvalidRequest([FieldError("n_iter", message)])
        return asked

    @property
    def left_out(self) -> Collection[str]:
        return () if self.mask else OF_A_MASK

    @property
    def notes(self) -> list[str]:
        is_other = self.resize_mode is ResizeMode.LATENT
        return [*super().notes, *(["resize_mode 3 is not here: stretched"] if is_other else [])]

    def settings(self, model: str | None, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the settings by the farm's names, with AUTOMATIC1111's defaults for pictures and masks."""
        said = super().settings(model, kept)
        strength = 0.75 if self.denoising_strength is None else self.denoising_strength
        said |= {"width": self.width, "height": self.height}
        if said.get("start_step") is None:
            said["strength"] = strength
        if not self.mask:
            return said
        blur = next((value for value in (self.mask_blur, self.mask_blur_x) if value is not None), 4)
        return said | {
            "mask_blur": blur,
            "inpainting_fill": self.inpainting_fill or 0,
            "masked_area_only": self.inpaint_full_res is not False,
            "masked_padding": said.get("masked_padding") or 0,
        }

    def stored_rows(self, site: Site, caller: Caller) -> list[dict[str, Any]]:
        """Store the pictures for the caller's owner and return what is drawn, `num` times each.

        Decodes and stores: call it in one of the site's picture_threads. Raises InvalidRequest, QuotaExceeded,
        StorageUnavailable.
        """
        rows = [
            {"prompt": self.prompt or "", "init_image": self._store(site, caller, text, "init_images")}
            for text in self.init_images
        ]
        mask = self._store(site, caller, self.mask, "mask") if self.mask else None
        return [row | ({"mask_image": mask} if mask else {}) for row in rows]

    def _store(self, site: Site, caller: Caller, text: str, field: str) -> str:
        data = read_base64(text, field)
        try:
            image = decode(data)
            if field == "mask" and image.mode == "RGBA":  # what is opaque is drawn anew
                image = image.getchannel("A").convert("RGB")
            return store_picture(site, caller.owner, self._resized(image)).upload.name
        except (InvalidPicture, TooLarge) as error:
            raise InvalidRequest([FieldError(field, f"{field}: {error}")]) from None

    def _resized(self, image: Image.Image) -> Image.Image:
        """Return a picture of the job's size, made so by its mode; cropping is the farm's own way."""
        width, height = self.width or image.width, self.height or image.height
        if self.resize_mode is ResizeMode.CROP or image.size == (width, height) or not _is_a_side(width, height):
            return image
        if self.resize_mode is ResizeMode.FILL:
            return _filled(image, width, height)
        return image.resize((width, height), Image.Resampling.LANCZOS)


def _is_a_side(*sides: int) -> bool:
    """Whether these may be sides of a job; what may not is refused with the settings."""
    return all(0 < side <= 4096 for side in sides)


def _filled(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return a whole picture in the middle of a size, its edges drawn out to the sides."""
    scale = min(width / image.width, height / image.height)
    inner = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
    )
    left, top = (width - inner.width) // 2, (height - inner.height) // 2
    canvas = Image.new(image.mode, (width, height))
    if inner.width < width:
        for box, x, side in ((0, 0, left), (inner.width - 1, left + inner.width, width - left - inner.width)):
            if side:
                canvas.paste(inner.crop((box, 0, box + 1, inner.height)).resize((side, inner.height)), (x, top))
    if inner.height < height:
        for box, y, side in ((0, 0, top), (inner.height - 1, top + inner.height, height - top - inner.height)):
            if side:
                canvas.paste(inner.crop((0, box, inner.width, box + 1)).resize((inner.width, side)), (left, y))
    canvas.paste(inner, (left, top))
    return canvas
