"""What a txt2img request says. Clients send some 45 fields; those that the farm has no use for are left aside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from sigmafarm.http.fronts.a1111.samplers import Choice, read_sampler
from sigmafarm.http.fronts.bodies import check_fields, first_said
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.picture_settings import OF_A_MASK, OF_A_PICTURE
from sigmafarm_common.settings import MAX_PROMPT_CHARS, SETTING_FIELDS, PromptSyntax

#: The most pictures of one request: they are all in one answer.
MAX_NUM = 32
#: What AUTOMATIC1111 calls file formats, and what they are here.
FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
#: Fields that would change the picture and do not here, with what they are when they are off.
UNUSED: Mapping[str, str] = {
    "enable_hr": "the second pass in high resolution",
    "restore_faces": "restoring faces",
    "tiling": "tiling",
    "styles": "styles",
    "subseed_strength": "variation seeds",
}

#: Settings of the web interface that are settings of a job here.
OVERRIDES = frozenset({"CLIP_stop_at_last_layers"})

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
    enable_hr: Any = None
    restore_faces: Any = None
    tiling: Any = None
    styles: Any = None
    subseed_strength: Any = None

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
        unused = [f"{what} is not here: left out" for name, what in UNUSED.items() if getattr(self, name)]
        return [*self.sampler.notes, *unused]

    @property
    def left_out(self) -> Collection[str]:
        """Settings that clients send with every request, where they mean nothing."""
        return (*OF_A_PICTURE, *OF_A_MASK)

    def settings(self, model: str | None) -> dict[str, Any]:
        """Return the settings by the farm's names. A seed of -1 is one to be drawn."""
        form = (self.override_settings or {}).get("samples_format")
        extra = self.model_extra or {}
        over = {name: value for name, value in (self.override_settings or {}).items() if name in OVERRIDES}
        fields = [field for field in SETTING_FIELDS.values() if field.name not in self.left_out]
        said = {field.name: first_said({**over, **extra}, (field.a1111, field.name)) for field in fields}
        if said["prompt_syntax"] is None:
            said["prompt_syntax"] = PromptSyntax.A1111
        if isinstance(form, str):
            said["output_format"] = FORMATS.get(form.lower())
        seed = None if self.seed == -1 else self.seed
        return {**said, "seed": seed, "model": model, **self.sampler.settings}
