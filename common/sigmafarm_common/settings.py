"""What is asked for: the settings of a job (Settings), and a prompt with them (RenderRequest).

Frozen data without IO. A RenderRequest is checked once, here, at the border; inside, its types are trusted. A setting
that is None was left out: `resolved` fills it from the batch's defaults, then the model's, then the farm's.

A setting is said once: all that flags, files, bodies, forms and the text of a picture need to know of it stands at its
field (setting_fields.py says what that can be). Its place among the fields is its place in all of them.
"""

from __future__ import annotations

import difflib
import secrets
import sys
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sigmafarm_common.errors import InvalidRequest
from sigmafarm_common.own_columns import ColumnsSetting, LineSetting
from sigmafarm_common.picture_inputs import FitSetting, InitImageSetting, MaskImageSetting, sha256_of
from sigmafarm_common.picture_settings import (
    DEFAULT_STRENGTH,
    ImageCountSetting,
    ImageIndexSetting,
    InpaintingFillSetting,
    LmsStart,
    LmsStartSetting,
    MaskBlurSetting,
    MaskedAreaOnlySetting,
    MaskedPaddingSetting,
    MaskInvertSetting,
    StartStepSetting,
    StrengthSetting,
    check_place,
    check_start,
    check_strength,
    drop_the_other_start,
    start_of,
)
from sigmafarm_common.samplers import BY_NAME, SAMPLERS, SamplerName, find_sampler, sampler_named
from sigmafarm_common.setting_fields import About, FloatPair, Kind, Place, SettingField, fields_of, text_of
from sigmafarm_common.validation import field_errors, too_many_names

#: Longest prompt, in characters. Of a plain one, only the first 77 tokens are drawn; the rest is kept in the record.
MAX_PROMPT_CHARS = 16_384
#: Smallest and largest picture side in pixels, and the step between sizes (the VAE's factor).
MIN_SIDE_PX, MAX_SIDE_PX, SIDE_STEP_PX = 64, 2048, 8
#: The seed that says: draw one.
RANDOM_SEED = -1
#: Seeds are drawn from 0 up to this (exclusive): spreadsheets and JavaScript keep such numbers exact.
RANDOM_SEED_END = 2**32
#: The layers that clip_skip may go back: those of the largest text encoder, of Stable Diffusion 2.x.
MAX_CLIP_SKIP = 24
#: Labels that a job may have, and the characters of a name or a value among them.
MAX_LABELS, MAX_LABEL_CHARS = 24, 100
#: What of a name is looked at that is no setting's.
MAX_NAME_CHARS = 60
#: The form of a model's name: it stands in queue names, Redis keys and URLs.
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def _read_sampler(value: Any) -> Any:
    """Take AUTOMATIC1111's names and diffusers' classes for the farm's."""
    found = sampler_named(value) if isinstance(value, str) else {}
    if "karras_sigmas" in found:  # `spell_out` left it there
        raise PydanticCustomError(
            "karras", "its name says Karras sigmas, karras_sigmas does not: leave one of them out"
        )
    return found.get("sampler", value)


def spell_out(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings in which a sampler named with its noise levels (`DPM++ 2M Karras`) is the two settings that this
    means. Left as it is where karras_sigmas says something else."""
    name, karras = said.get("sampler"), said.get("karras_sigmas")
    found = sampler_named(name) if isinstance(name, str) and text_of(karras).lower() in ("none", "true") else {}
    return {**said, **found} if "karras_sigmas" in found else said


def _no_truths(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings in which true and false are texts where numbers are meant: Python takes them for 1 and 0."""
    names = [name for name, value in said.items() if isinstance(value, bool) and name in NUMBER_FIELDS]
    return {**said, **{name: text_of(said[name]) for name in names}} if names else said


Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARS)]
SamplerSetting = Annotated[SamplerName, BeforeValidator(_read_sampler)]
LabelText = Annotated[str, Field(max_length=MAX_LABEL_CHARS)]
Labels = Annotated[dict[LabelText, LabelText], Field(max_length=MAX_LABELS)]
Side = Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX, multiple_of=SIDE_STEP_PX)]


class OutputFormat(StrEnum):
    """The file formats of a picture."""

    #: Lossless; carries all parameters as text chunks.
    PNG = "png"
    #: Small, lossy; carries the parameters in EXIF.
    JPEG = "jpeg"
    #: Smaller, lossy; carries the parameters in EXIF.
    WEBP = "webp"


class PromptSyntax(StrEnum):
    """How prompts are read."""

    #: Every character counts; 77 tokens are drawn.
    PLAIN = "plain"
    #: AUTOMATIC1111's: (more), [less], (much:1.3), BREAK, and prompts of any length.
    A1111 = "a1111"


class OnDivergence(StrEnum):
    """What becomes of a picture whose latents left the range of its model's pictures."""

    #: It is delivered, with a warning that names the cure.
    KEEP = "keep"
    #: Its job fails, with the reason.
    FAIL = "fail"
    #: It is drawn again by LMS of order 2, then 1, and a warning says so; other samplers' pictures are kept.
    LOWER_ORDER = "lower_order"


class Settings(BaseModel):
    """Everything of a request but its prompt. None means: not said here, take the next default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    negative_prompt: Annotated[
        Prompt | None,
        Field(title="Negative prompt", description="What the picture shall not show."),
        About(farm_default="", in_text="", place=Place.TEXT),
    ] = None
    init_image: InitImageSetting = None
    mask_image: MaskImageSetting = None
    fit: FitSetting = None
    model: Annotated[
        str | None,
        Field(title="Model", description="Name of the model that draws.", pattern=MODEL_NAME),
        About(otherwise="the farm's default", a1111="sd_model_checkpoint", place=Place.SIDE),
    ] = None
    num_inference_steps: Annotated[
        int | None,
        Field(title="Steps", description="Steps of denoising.", ge=1, le=1000),
        About(farm_default=50, otherwise="model's", aliases=("steps",), a1111="steps", place=Place.SIDE),
    ] = None
    sampler: Annotated[
        SamplerSetting | None,
        Field(
            title="Sampler",
            description="How the noise is walked down; AUTOMATIC1111's names (DPM++ 2M Karras) and diffusers' do too.",
        ),
        About(
            farm_default="lms",
            otherwise="model's",
            a1111="sampler_name",
            in_text="",
            words={each.name: each.label for each in SAMPLERS},
            place=Place.SIDE,
        ),
    ] = None
    guidance_scale: Annotated[
        float | None,
        Field(
            title="Guidance", description="Weight of the prompt; up to 1 there is none, at half the cost.", ge=0, le=100
        ),
        About(
            farm_default=7.5,
            otherwise="model's",
            aliases=("guidance",),
            a1111="cfg_scale",
            in_text="CFG scale",
            place=Place.SIDE,
        ),
    ] = None
    width: Annotated[
        Side | None,
        Field(title="Width", description="Of the picture, in pixels."),
        About(otherwise="model's", in_text="", unit="px", place=Place.SIDE),
    ] = None
    height: Annotated[
        Side | None,
        Field(title="Height", description="Of the picture, in pixels."),
        About(otherwise="model's", in_text="", unit="px", place=Place.SIDE),
    ] = None
    seed: Annotated[
        int | None,
        Field(
            title="Seed",
            description="Of the first noise: it gives the same picture on any device. -1 draws one.",
            ge=RANDOM_SEED,
            lt=2**63,
        ),
        About(otherwise="random", place=Place.SIDE),
    ] = None
    lms_order: Annotated[
        int | None,
        Field(title="LMS order", description="Order of sampler lms; 1 is Euler's method.", ge=1, le=4),
        About(farm_default=4),
    ] = None
    karras_sigmas: Annotated[
        bool | None,
        Field(
            title="Karras sigmas", description="Noise levels after Karras et al. instead of the model's own spacing."
        ),
        About(farm_default=False, otherwise="model's", a1111="scheduler", in_text=""),
    ] = None
    guidance_interval: Annotated[
        FloatPair | None,
        Field(
            title="Guidance interval",
            description="Noise levels (sigmas), low and high, between which the prompt is weighted; outside, at half "
            "the cost, it is not.",
        ),
        About(otherwise="off"),
    ] = None
    strength: StrengthSetting = None
    start_step: StartStepSetting = None
    lms_start: LmsStartSetting = None
    mask_blur: MaskBlurSetting = None
    mask_invert: MaskInvertSetting = None
    masked_area_only: MaskedAreaOnlySetting = None
    masked_padding: MaskedPaddingSetting = None
    inpainting_fill: InpaintingFillSetting = None
    image_index: ImageIndexSetting = None
    image_count: ImageCountSetting = None
    prompt_syntax: Annotated[
        PromptSyntax | None,
        Field(
            title="Prompt syntax",
            description="a1111 reads (more), [less], (much:1.3) and BREAK, and draws prompts of any length.",
        ),
        About(farm_default="plain", otherwise="plain; a1111 on that front", words={"a1111": "AUTOMATIC1111's"}),
    ] = None
    clip_skip: Annotated[
        int | None,
        Field(
            title="Clip skip",
            description="The layer of the text encoder that prompts are taken from, counted from the last one, 1.",
            ge=1,
            le=MAX_CLIP_SKIP,
        ),
        About(farm_default=1, a1111="CLIP_stop_at_last_layers"),
    ] = None
    on_divergence: Annotated[
        OnDivergence | None,
        Field(
            title="On divergence",
            description="Where the sampler leaves the range of the model's pictures: keep it with a warning, fail, or "
            "draw it again with a lower LMS order.",
        ),
        About(farm_default="keep"),
    ] = None
    output_format: Annotated[
        OutputFormat | None,
        Field(title="Format", description="Of the picture's file."),
        About(farm_default="png", in_text=""),
    ] = None
    output_quality: Annotated[
        int | None,
        Field(title="Quality", description="Of a JPEG or WEBP file; less is smaller.", ge=0, le=100),
        About(otherwise="95 of JPEG, 90 of WEBP", aliases=("output_compression",), a1111="jpeg_quality", in_text=""),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, said: Any) -> Any:
        return _no_truths(spell_out(said)) if isinstance(said, Mapping) else said

    @field_validator("sampler")
    @classmethod
    def _makes_so_many_steps(cls, value: SamplerName | None, info: ValidationInfo) -> SamplerName | None:
        steps = info.data.get("num_inference_steps")
        if value is not None and steps is not None and steps > (most := BY_NAME[value].max_steps):
            raise PydanticCustomError("steps", "it makes at most {most} steps, not {n}", {"most": most, "n": steps})
        return value

    @field_validator("karras_sigmas")
    @classmethod
    def _is_known_to_the_sampler(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        sampler = info.data.get("sampler")
        if value and sampler is not None and not BY_NAME[sampler].knows_karras:
            raise PydanticCustomError("karras", "sampler {name} has none: leave it out", {"name": sampler.value})
        return value

    @field_validator("guidance_interval")
    @classmethod
    def _is_an_interval(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise PydanticCustomError("interval", "must be two noise levels from 0 up, the lower first")
        return value

    @field_validator("strength")
    @classmethod
    def _leaves_a_step(cls, value: float | None, info: ValidationInfo) -> float | None:
        check_strength(value, info.data)
        return value

    @field_validator("start_step")
    @classmethod
    def _starts_within(cls, value: int | None, info: ValidationInfo) -> int | None:
        check_start(value, info.data)
        return value

    @field_validator("image_count")
    @classmethod
    def _holds_its_place(cls, value: int | None, info: ValidationInfo) -> int | None:
        check_place(value, info.data)
        return value

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Build from untrusted data. Raises InvalidRequest with all bad fields together."""
        if wrong := too_many_names(data):
            raise InvalidRequest([wrong])
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidRequest(field_errors(error, setting_like)) from None

    def said(self) -> dict[str, Any]:
        """Return the settings that are not None, as plain JSON values."""
        return self.model_dump(exclude_none=True, mode="json")


class RenderRequest(Settings):
    """One prompt with its settings: what a job is to draw.

    `RenderRequest(prompt=...)` raises pydantic's ValidationError; `RenderRequest.parse(mapping)` raises InvalidRequest
    with a sentence, the value and the cure for every bad field.
    """

    prompt: Annotated[
        Prompt, Field(title="Prompt", description="What the picture shall show."), About(in_text="", place=Place.TEXT)
    ]
    #: No setting: it changes no picture.
    labels: Annotated[
        Labels | None,
        Field(
            description="Marks by name: what was chosen for this job of a matrix, or anybody's own. The axes of sheets."
        ),
    ] = None
    #: No settings either.
    columns: ColumnsSetting = None
    line: LineSetting = None

    def resolved(self, *defaults: Mapping[str, Any]) -> RenderRequest:
        """Return the request with every setting filled: from itself, then from each mapping in turn, then the farm's
        defaults, as `resolve` does. Height and width stay None if no mapping knows them.

        Raises InvalidRequest where they do not go together.
        """
        said = {name: value for name, value in self.__dict__.items() if value is not None}
        return RenderRequest.parse(resolve(said, *defaults))

    def to_json(self) -> str:
        """Return the request as compact JSON without the settings that were left out."""
        return self.model_dump_json(exclude_none=True)

    @property
    def first_step(self) -> int:
        """Step of the schedule at which it starts, from 0: later ones for a given picture only."""
        if self.start_step is not None:
            return self.start_step
        strength = self.strength
        if strength is None and self.__dict__.get("init_image") is not None:
            strength = DEFAULT_STRENGTH
        return 0 if strength is None else start_of(strength, self._num_steps)

    @property
    def num_calls(self) -> int:
        """Calls of the network that it takes: one a step with most samplers, from the start step on."""
        sampler = BY_NAME[self.sampler or FARM_DEFAULTS["sampler"]]
        as_diffusers = self.lms_start == LmsStart.DIFFUSERS
        return max(1, sampler.num_calls_from(self.first_step, self._num_steps, as_diffusers=as_diffusers))

    @property
    def _num_steps(self) -> int:
        return self.num_inference_steps or int(FARM_DEFAULTS["num_inference_steps"])

    @property
    def cost(self) -> float:
        """Calls times megapixels: the unit of fair sharing. Unknown sizes count as 512 x 512."""
        return self.num_calls * (self.height or 512) * (self.width or 512) / 1e6


#: What a request says beside its prompt and its settings: it changes no picture.
NO_SETTINGS = ("labels", "columns", "line")
#: What of that belongs to the submitter, and stands in no picture's file.
SUBMITTERS_OWN = ("columns", "line")
#: Every setting of a job, and its prompt, by name.
REQUEST_FIELDS: Mapping[str, SettingField] = fields_of(RenderRequest, but=NO_SETTINGS)
#: Every setting of a job by name.
SETTING_FIELDS: Mapping[str, SettingField] = fields_of(Settings)
#: Those that are long texts of somebody's own: no log shows them, and rows of a batch share them one by one.
LONG_TEXTS = tuple(name for name, field in REQUEST_FIELDS.items() if field.about.place == Place.TEXT)
#: Those that are numbers.
NUMBER_FIELDS = frozenset(name for name, field in SETTING_FIELDS.items() if field.kind in (Kind.WHOLE, Kind.NUMBER))
#: Those that name pictures to draw from.
PICTURE_FIELDS = tuple(name for name, field in SETTING_FIELDS.items() if field.kind is Kind.PICTURE)
#: What a setting is when neither the job, the batch nor the model says anything.
FARM_DEFAULTS: Mapping[str, Any] = {
    name: field.about.farm_default for name, field in SETTING_FIELDS.items() if field.about.farm_default is not None
}


#: What tables of pictures and other programs call what we say otherwise, beside AUTOMATIC1111's names.
_SAID_ELSEWHERE = {
    "size": "width and height",
    "resolution": "width and height",
    "caption": "prompt",
    "text": "prompt",
    "image": "init_image",
}


def setting_like(name: str) -> str | None:
    """Return the setting, or the two, that a name stands for which is none there: another name for it, or one written
    much like it. None where that is the name itself: then it stands in the wrong place."""
    return _setting_like(name[: MAX_NAME_CHARS + 1])


@lru_cache(maxsize=1024)  # a column that nobody knows comes again with every row, and each search takes 0.16 ms
def _setting_like(name: str) -> str | None:
    plain = _plain(name)
    others = {_plain(each): f.name for f in REQUEST_FIELDS.values() for each in (*f.names, f.a1111) if each}
    others = {**_SAID_ELSEWHERE, **others}
    near = difflib.get_close_matches(name[:MAX_NAME_CHARS], tuple(REQUEST_FIELDS), n=1)
    nearly = (others[each] for each in difflib.get_close_matches(plain, others, n=1, cutoff=0.8))
    found = others.get(plain) or next(chain(near, nearly), None)
    return None if found == name else found


def _plain(name: str) -> str:
    return name[:MAX_NAME_CHARS].lower().replace("_", "").replace("-", "").replace(" ", "")


def resolve(said: Mapping[str, Any], *defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with all that they leave out: from each mapping in turn, then from the farm's defaults. None
    counts as left out. What is said is not checked here.

    A seed that nobody named is drawn now, and a picture's strength is DEFAULT_STRENGTH. Strength and start step drive
    each other out: the one that stands nearer to the job counts. Karras sigmas that were said without this sampler are
    left aside where it has none, as diffusers does.
    """
    return resolve_over(laid(*defaults), said)


def laid(*defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what holds where a job says nothing: from each mapping in turn, then from the farm's defaults."""
    values = dict(FARM_DEFAULTS)
    for mapping in map(spell_out, reversed(defaults)):
        _lay(mapping, values)
    return values


def _lay(said: Mapping[str, Any], values: dict[str, Any]) -> None:
    """Let what is said stand before what is there."""
    drop_the_other_start(values, said)
    values.update({name: value for name, value in said.items() if value is not None})


def resolve_over(ground: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Do what `resolve` does, over what `laid` returned: many rows have the same defaults."""
    values, said = dict(ground), spell_out(said)
    _lay(said, values)
    if draws_seed(values.get("seed")):
        values["seed"] = secrets.randbelow(RANDOM_SEED_END)
    if values.get("init_image") is not None and values.get("start_step") is None:
        values.setdefault("strength", DEFAULT_STRENGTH)
    sampler = find_sampler(values["sampler"]) if isinstance(values["sampler"], str) else None
    are_said_together = said.get("sampler") is not None and said.get("karras_sigmas") is not None
    if sampler and not sampler.knows_karras and not are_said_together:
        values["karras_sigmas"] = False
    return values


def draws_seed(seed: Any) -> bool:
    """Whether a seed that is said, or is not, means that one is drawn."""
    try:
        return seed is None or float(seed) == RANDOM_SEED
    except (TypeError, ValueError, OverflowError):
        return False


def uploads_of(request: Settings) -> dict[str, str]:
    """Return the uploads that a request draws from, by their SHA-256, each with the setting that names it."""
    named = ((getattr(request, field), field) for field in PICTURE_FIELDS)
    return {sha256: field for name, field in named if name is not None and (sha256 := sha256_of(name))}


def job_settings_table() -> str:
    """Return the table of producer/README.md in Markdown (`python -m sigmafarm_common.settings` prints it)."""
    lines = ["| setting | flags | takes | unless said | AUTOMATIC1111 | what |", "|---|---|---|---|---|---|"]
    for field in SETTING_FIELDS.values():
        takes = " ".join(filter(None, (field.kind, field.range)))
        flags = ", ".join(f"`{flag}`" for flag in field.flags)
        default = field.otherwise if field.about.farm_default is None else text_of(field.about.farm_default)
        lines.append(f"| `{field.name}` | {flags} | {takes} | {default} | `{field.a1111}` | {field.help} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(job_settings_table() + "\n")
