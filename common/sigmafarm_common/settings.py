"""What is asked for: the settings of a job (Settings), and a prompt with them (RenderRequest).

Frozen data without IO. A RenderRequest is checked once, here, at the border; inside, its types are trusted. A setting
that is None was left out: `resolved` fills it from the batch's defaults, then the model's, then the farm's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sigmafarm_common.errors import InvalidRequest
from sigmafarm_common.validation import field_errors, too_many_names

#: What a setting is when neither the job, the batch nor the model says anything.
FARM_DEFAULTS: Mapping[str, Any] = {
    "negative_prompt": "",
    "num_inference_steps": 50,
    "guidance_scale": 7.5,
    "lms_order": 4,
    "karras_sigmas": False,
    "output_format": "png",
}
#: Longest prompt, in characters. Only the first 77 tokens are drawn; the rest is kept in the record.
MAX_PROMPT_CHARS = 16_384
#: Smallest and largest picture side in pixels, and the step between sizes (the VAE's factor).
MIN_SIDE_PX, MAX_SIDE_PX, SIDE_STEP_PX = 64, 2048, 8
#: Seeds are drawn from 0 up to this (exclusive): spreadsheets and JavaScript keep such numbers exact.
RANDOM_SEED_END = 2**32
#: The form of a model's name: it stands in queue names, Redis keys and URLs.
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARS)]
Side = Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX, multiple_of=SIDE_STEP_PX)]


class OutputFormat(StrEnum):
    """The file formats of a picture."""

    #: Lossless; carries all parameters as text chunks.
    PNG = "png"
    #: Small, lossy; carries the parameters in EXIF.
    JPEG = "jpeg"
    #: Smaller, lossy; carries the parameters in EXIF.
    WEBP = "webp"


class Settings(BaseModel):
    """Everything of a request but its prompt. None means: not said here, take the next default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    #: What the picture shall not show.
    negative_prompt: Prompt | None = None
    #: LMS steps.
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    #: Weight of the prompt (classifier-free guidance); 1 or less costs one row instead of two.
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    #: Seed of the initial noise; the same seed gives the same picture on any device, alone or in company.
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    #: Picture height in pixels.
    height: Side | None = None
    #: Picture width in pixels.
    width: Side | None = None
    #: Order of the LMS method, 1 (Euler) to 4.
    lms_order: Annotated[int, Field(ge=1, le=4)] | None = None
    #: Noise levels after Karras et al. instead of the scheduler's own spacing.
    karras_sigmas: bool | None = None
    #: File format of the picture.
    output_format: OutputFormat | None = None
    #: Name of the model that draws it.
    model: Annotated[str, Field(pattern=MODEL_NAME)] | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Build from untrusted data. Raises InvalidRequest with all bad fields together."""
        if wrong := too_many_names(data):
            raise InvalidRequest([wrong])
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidRequest(field_errors(error)) from None

    def said(self) -> dict[str, Any]:
        """Return the settings that are not None, as plain JSON values."""
        return self.model_dump(exclude_none=True, mode="json")


class RenderRequest(Settings):
    """One prompt with its settings: what a job is to draw.

    `RenderRequest(prompt=...)` raises pydantic's ValidationError; `RenderRequest.parse(mapping)` raises InvalidRequest
    with a sentence, the value and the cure for every bad field.
    """

    #: What the picture shall show.
    prompt: Prompt

    def resolved(self, *defaults: Mapping[str, Any]) -> RenderRequest:
        """Return the request with every setting filled: from itself, then from each mapping in turn, then the farm's
        defaults; a seed that nobody named is drawn now. Height and width stay None if no mapping knows them."""
        values: dict[str, Any] = dict(FARM_DEFAULTS)
        for mapping in reversed(defaults):
            values.update((k, v) for k, v in mapping.items() if v is not None)
        values.update((k, v) for k, v in self.__dict__.items() if v is not None)
        if values.get("seed") is None:
            values["seed"] = secrets.randbelow(RANDOM_SEED_END)
        return RenderRequest.model_validate(values)

    def to_json(self) -> str:
        """Return the request as compact JSON without the settings that were left out."""
        return self.model_dump_json(exclude_none=True)

    @property
    def num_rows(self) -> int:
        """Rows of the UNet's input that this request costs at every step: two when it is guided, else one."""
        return 2 if self.guidance_scale is None or self.guidance_scale > 1 else 1

    @property
    def cost(self) -> float:
        """Steps times megapixels: the unit of fair sharing. Unknown sizes count as 512 x 512."""
        steps = self.num_inference_steps or FARM_DEFAULTS["num_inference_steps"]
        return steps * (self.height or 512) * (self.width or 512) / 1e6
