"""What a request for pictures says: OpenAI's own fields, and the farm's settings beside them at the top level.

What the farm has no use for (quality, style, background, moderation, user) is taken and left aside.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from sigmafarm.http.fronts.bodies import check_fields, first_said, parse_body
from sigmafarm_common.settings import MAX_PROMPT_CHARS, SETTING_FIELDS

#: The most pictures of one request, and the most partial images of a stream: OpenAI's own bounds.
MAX_NUM, MAX_PARTIAL = 10, 3
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)


class ResponseFormat(StrEnum):
    """How pictures are answered. Where nothing is said, both ways."""

    #: A link that works for some minutes.
    URL = "url"
    #: The file itself in base 64.
    B64_JSON = "b64_json"


def _check_size(value: str) -> str:
    if value != "auto" and not _SIZE.fullmatch(value):
        raise PydanticCustomError("size", "must be WIDTHxHEIGHT, such as 512x512, or auto")
    return value


class Asked(BaseModel):
    """A request, checked as far as it is not the farm's settings: those are kept as they are said, by their own
    names or shorter ones, and checked where they are resolved."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    #: What the events of its stream are called, before the dot.
    events: ClassVar[str] = "image_generation"

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MAX_NUM)] | None = None
    size: Annotated[str, AfterValidator(_check_size)] | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=MAX_PARTIAL)] | None = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Build from a body. Raises InvalidInput with all bad fields."""
        return check_fields(cls, parse_body(body))

    @property
    def num(self) -> int:
        return self.n or 1

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is drawn, `num` times each."""
        return [{"prompt": self.prompt}]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by the farm's names, as far as they are said. `auto` is the model's own size."""
        extra = self.model_extra or {}
        said = {field.name: first_said(extra, field.names) for field in SETTING_FIELDS.values()}
        if match := _SIZE.fullmatch(self.size or ""):
            said["width"], said["height"] = int(match[1]), int(match[2])
        return {**said, "model": self.model or None}


class Edit(Asked):
    """A request that begins with pictures, which are stored already."""

    events: ClassVar[str] = "image_edit"

    #: Their names. Each is drawn on by itself.
    pictures: tuple[str, ...]
    #: The mask's name: it is the first picture's.
    mask_picture: str | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows = [{"prompt": self.prompt, "init_image": name} for name in self.pictures]
        if self.mask_picture is not None:
            rows[0]["mask_image"] = self.mask_picture
        return rows
