"""The settings of a job that starts from a picture, or is one of several from one generator: their types and words.

They are fields of Settings like all others (settings.py); they stand here for their number. The rules that bind two of
them together are functions, which the validators of Settings call.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from sigmafarm_common.errors import FieldError
from sigmafarm_common.setting_fields import About, Place
from sigmafarm_common.validation import shown

#: How much of a given picture is drawn anew where nobody says it: as in diffusers.
DEFAULT_STRENGTH = 0.8
#: The most pictures of one call with one generator: the last of them draws the noise of all before it.
MAX_IMAGE_COUNT = 10_000
#: The widest blur of a mask and the widest rim around it, in pixels.
MAX_BLUR_PX, MAX_PADDING_PX = 256, 1024
#: What is seen around a mask, in pixels, where only its area is drawn and nobody says it: AUTOMATIC1111's.
DEFAULT_PADDING_PX = 32
#: Settings that mean nothing without a picture to start from; and without a mask, with what they are where nobody says
#: them. They are no defaults of the farm, which stand in each job's record.
OF_A_PICTURE = ("strength", "start_step")
OF_A_MASK: Mapping[str, Any] = {
    "mask_blur": 0,
    "mask_invert": False,
    "masked_area_only": False,
    "masked_padding": DEFAULT_PADDING_PX,
    "inpainting_fill": "original",
}


def settings_alone(said: Mapping[str, Any], *, has_picture: bool, has_mask: bool) -> list[FieldError]:
    """Return an error for each setting that means nothing without a picture or a mask that is not there."""
    errors: list[FieldError] = []
    if not has_picture:
        errors += [_alone(name, said[name], "init_image") for name in OF_A_PICTURE if said.get(name) is not None]
    if not has_mask:
        asked = [name for name, usual in OF_A_MASK.items() if said.get(name) not in (None, usual)]
        errors += [_alone(name, said[name], "mask_image") for name in asked]
    return errors


def _alone(name: str, value: Any, lacking: str) -> FieldError:
    return FieldError(name, f"{name} is {shown(value)}: it means nothing without {lacking}: give one, or leave it out")


class LmsStart(StrEnum):
    """How a sampler that looks back starts in the middle of its schedule."""

    #: Its order counts the steps that it has made.
    EXACT = "exact"
    #: As diffusers' pipelines do, with their faults.
    DIFFUSERS = "diffusers"


class InpaintingFill(StrEnum):
    """What stands in the part that is drawn anew before it is drawn, in AUTOMATIC1111's order."""

    #: The colours around it.
    FILL = "fill"
    #: What was there.
    ORIGINAL = "original"
    #: Noise.
    LATENT_NOISE = "latent_noise"
    #: Nothing.
    LATENT_NOTHING = "latent_nothing"


def _read_fill(value: Any) -> Any:
    """Take AUTOMATIC1111's numbers for the words."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return list(InpaintingFill)[value] if is_number and 0 <= value < len(InpaintingFill) else value


StrengthSetting = Annotated[
    float | None,
    # One step of a thousand needs so much.
    Field(title="Strength", description="How much of a given picture is drawn anew: all at 1.", ge=0.001, le=1),
    About(
        otherwise="0.8 with a picture",
        a1111="denoising_strength",
        in_text="Denoising strength",
        place=Place.PICTURED,
    ),
]
StartStepSetting = Annotated[
    int | None,
    Field(
        title="Start step",
        description="Step, from 0, at which drawing on a given picture starts: the other way to say strength.",
        ge=0,
        le=999,
    ),
    About(otherwise="from strength"),
]
LmsStartSetting = Annotated[
    LmsStart | None,
    Field(
        title="LMS start",
        description="How LMS and PLMS start on a given picture: right, or as diffusers' pipelines do.",
    ),
    About(otherwise="exact"),
]
ImageIndexSetting = Annotated[
    int | None,
    Field(
        title="Image index",
        description="Place, from 0, in a call that draws several from one generator: the noise of those before it is "
        "drawn and thrown away.",
        ge=0,
        lt=MAX_IMAGE_COUNT,
    ),
    About(otherwise="0"),
]
ImageCountSetting = Annotated[
    int | None,
    Field(
        title="Image count",
        description="How many that call draws: counts where a sampler draws noise at its steps, and for odd sizes.",
        ge=1,
        le=MAX_IMAGE_COUNT,
    ),
    About(otherwise="image index + 1"),
]
MaskBlurSetting = Annotated[
    float | None,
    Field(title="Mask blur", description="Radius by which a mask's edge is softened.", ge=0, le=MAX_BLUR_PX),
    About(otherwise="0", unit="px"),
]
MaskInvertSetting = Annotated[
    bool | None,
    Field(title="Mask inverted", description="Draw anew what the mask leaves out."),
    About(otherwise="false", a1111="inpainting_mask_invert"),
]
MaskedAreaOnlySetting = Annotated[
    bool | None,
    Field(title="Masked area only", description="Draw the part around the mask at the full size, and put it back."),
    About(otherwise="false", a1111="inpaint_full_res"),
]
MaskedPaddingSetting = Annotated[
    int | None,
    Field(
        title="Masked area padding",
        description="Of the picture around the mask that is seen with it, if the masked area only is drawn.",
        ge=0,
        le=MAX_PADDING_PX,
    ),
    About(otherwise=str(DEFAULT_PADDING_PX), a1111="inpaint_full_res_padding", unit="px"),
]
InpaintingFillSetting = Annotated[
    InpaintingFill | None,
    BeforeValidator(_read_fill),
    Field(title="Masked content", description="What stands under the mask before it is drawn."),
    About(otherwise="original", words={each.value: each.value.replace("_", " ") for each in InpaintingFill}),
]


def check_start(start_step: int | None, said: Mapping[str, Any]) -> None:
    """Refuse a start step beside a strength, and one past the end."""
    if start_step is None:
        return
    if said.get("strength") is not None:
        raise PydanticCustomError("start", "it says what strength says: give one of them")
    steps = said.get("num_inference_steps")
    if steps is not None and start_step >= steps:
        raise PydanticCustomError(
            "start", "must be 0 to {last}, for there are {n} steps", {"last": steps - 1, "n": steps}
        )


def check_strength(strength: float | None, said: Mapping[str, Any]) -> None:
    """Refuse a strength that leaves no step to make."""
    steps = said.get("num_inference_steps")
    if strength is not None and steps is not None and start_of(strength, steps) == steps:
        raise PydanticCustomError(
            "strength", "of {n} steps it leaves none: must be at least {least}", {"n": steps, "least": f"{1 / steps:g}"}
        )


def check_place(image_count: int | None, said: Mapping[str, Any]) -> None:
    """Refuse a call that ends before its picture."""
    index = said.get("image_index")
    if image_count is not None and index is not None and image_count <= index:
        raise PydanticCustomError("count", "must be more than image_index, {index}", {"index": index})


def start_of(strength: float, num_steps: int) -> int:
    """Return the step at which a strength starts; `num_steps` if it leaves none. As diffusers rounds."""
    return num_steps - min(int(num_steps * strength), num_steps)


def drop_the_other_start(values: dict[str, Any], nearer: Mapping[str, Any]) -> None:
    """Forget in `values`, before those that stand nearer to the job go over them, what they say in the other way."""
    for name, other in (("strength", "start_step"), ("start_step", "strength")):
        if nearer.get(name) is not None:
            values.pop(other, None)
