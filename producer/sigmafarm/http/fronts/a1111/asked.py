"""What a txt2img request says. Clients send some 45 fields; those that the farm has no use for are left aside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from sigmafarm.http.fronts.a1111.left_out import left_out
from sigmafarm.http.fronts.a1111.samplers import Choice, read_sampler
from sigmafarm.http.fronts.bodies import check_fields, first_said
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.picture_settings import OF_A_MASK, OF_A_PICTURE
from sigmafarm_common.settings import MAX_PROMPT_CHARS, SETTING_FIELDS, PromptSyntax
from sigmafarm_common.validation import shown

#: The most pictures of one request: they are all in one answer.
MAX_NUM = 32
#: What AUTOMATIC1111 calls file formats, and what they are here.
FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
#: The option that names the format of files, and those that are settings of a job here, with what they are called.
SAMPLES_FORMAT = "samples_format"
OF_SETTINGS = {"CLIP_stop_at_last_layers": "clip_skip", "jpeg_quality": "output_quality"}

Text = Annotated[str, Field(max_length=MAX_PROMPT_CHARS)]
Count = Annotated[int, Field(ge=1, le=MAX_NUM)]


class Txt2Img(BaseModel):
    """A request, checked as far as it is not the farm's settings: those are kept as they are said, by
    AUTOMATIC1111's names or the farm's, and checked where they are resolved."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    prompt: Text | None = None
    seed: int | None = None
    batch_size: Count | None = None
    n_iter: Count | None = None
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    script_name: str | None = None
    send_images: bool | None = None
    override_settings: dict[str, Any] | None = None

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """Build from a body. Raises InvalidRequest with all bad fields."""
        asked = check_fields(cls, said)
        if asked.num > MAX_NUM:
            message = f"n_iter x batch_size is {asked.num}: at most {MAX_NUM} at once; submit more to /v1/batches"
            raise InvalidRequest([FieldError("n_iter", message)])
        if asked.script_name:
            message = f"script_name is {asked.script_name[:60]!r}: this farm has no scripts; leave it out"
            raise InvalidRequest([FieldError("script_name", message)])
        return asked

    @property
    def num(self) -> int:
        return (self.batch_size or 1) * (self.n_iter or 1)

    @property
    def sampler(self) -> Choice:
        return read_sampler(self.sampler_name or self.sampler_index, self.scheduler)

    @property
    def checkpoint(self) -> str:
        """The title of the model, empty where none is named."""
        said = (self.override_settings or {}).get("sd_model_checkpoint")
        return said if isinstance(said, str) else ""

    @property
    def notes(self) -> list[str]:
        """What was asked for and is not done."""
        options = self.override_settings or {}
        form = options.get(SAMPLES_FORMAT)
        formats = [f"{SAMPLES_FORMAT} {shown(form)} is not here: left out"] if form and not _format(form) else []
        extra = self.model_extra or {}
        negative = extra.get("negative_prompt")
        prompts = [text for text in (self.prompt, negative) if isinstance(text, str)]
        return [*self.sampler.notes, *formats, *left_out(extra, options, prompts)]

    @property
    def left_out(self) -> Collection[str]:
        """Settings that clients send with every request, where they mean nothing."""
        return (*OF_A_PICTURE, *OF_A_MASK)

    def settings(self, model: str | None, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the settings by the farm's names; `kept` are options that the caller chose before. A seed of -1 is one
        to be drawn."""
        options = {**(kept or {}), **(self.override_settings or {})}
        extra = self.model_extra or {}
        over = {name: options[name] for name in OF_SETTINGS if options.get(name) is not None}
        fields = [field for field in SETTING_FIELDS.values() if field.name not in self.left_out]
        said = {field.name: first_said({**over, **extra}, (field.a1111, field.name)) for field in fields}
        if said["prompt_syntax"] is None:
            said["prompt_syntax"] = PromptSyntax.A1111
        if form := _format(options.get(SAMPLES_FORMAT)) or _format((kept or {}).get(SAMPLES_FORMAT)):
            said["output_format"] = form
        seed = None if self.seed == -1 else self.seed
        return {**said, "seed": seed, "model": model, **self.sampler.settings}


def _format(said: Any) -> str | None:
    """Return what the farm calls a format of files, None for what is none."""
    return FORMATS.get(said.lower()) if isinstance(said, str) else None
