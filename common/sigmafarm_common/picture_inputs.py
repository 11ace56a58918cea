"""How a picture that a job draws from is named, and the settings that name one.

`sha256:` and 64 digits is an uploaded picture, called by what is stored of it; `job:` and an id is the picture of a job
that is drawn. Paths, bytes and pictures of Pillow are uploaded before they come here.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from sigmafarm_common.setting_fields import About, Place

#: What names of uploads and of jobs' pictures begin with.
UPLOAD_PREFIX, JOB_PREFIX = "sha256:", "job:"
#: The form of both.
PICTURE_NAME = r"^(sha256:[0-9a-f]{64}|job:[0-9a-z]{15}-[0-9]{6,9})$"
_PICTURE_NAME = re.compile(PICTURE_NAME)


class Fit(StrEnum):
    """What becomes of a picture whose size is not that of the job."""

    #: It is made larger or smaller until it covers the job's size, and what stands out is cut off evenly.
    CROP = "crop"
    #: It is refused.
    STRICT = "strict"


def is_picture_name(text: str) -> bool:
    """Whether a text names an upload or a job's picture."""
    return _PICTURE_NAME.fullmatch(text) is not None


def upload_name(sha256: str) -> str:
    """Return what an upload is called."""
    return UPLOAD_PREFIX + sha256


def sha256_of(name: str) -> str | None:
    """Return the SHA-256 that an upload is called by, None for any other name."""
    return name.removeprefix(UPLOAD_PREFIX) if name.startswith(UPLOAD_PREFIX) and is_picture_name(name) else None


def job_of(name: str) -> str | None:
    """Return the id of the job whose picture is meant, None for any other name."""
    return name.removeprefix(JOB_PREFIX) if name.startswith(JOB_PREFIX) and is_picture_name(name) else None


def _check_name(value: str) -> str:
    if not is_picture_name(value):
        raise PydanticCustomError(
            "picture", "must be sha256:... as an upload answers, or job: and the id of a job that is drawn"
        )
    return value


PictureName = Annotated[str, AfterValidator(_check_name)]

InitImageSetting = Annotated[
    PictureName | None,
    Field(
        title="Init image",
        description="A picture to begin with: sha256:... as an upload answers, or job: and a job's id; a path on the "
        "command line and in prompt files.",
        json_schema_extra={"pattern": PICTURE_NAME},
    ),
    About(otherwise="none", in_text="", place=Place.PICTURES, is_picture=True),
]
MaskImageSetting = Annotated[
    PictureName | None,
    Field(
        title="Mask",
        description="Where the init image is drawn anew: where it is transparent, or else where it is white. Named as "
        "that one is, and of its size.",
        json_schema_extra={"pattern": PICTURE_NAME},
    ),
    About(otherwise="none", in_text="", place=Place.PICTURES, is_picture=True),
]
FitSetting = Annotated[
    Fit | None,
    Field(
        title="Fit",
        description="Of an init image of another size: crop covers the size and cuts off evenly what stands out, "
        "strict refuses it.",
    ),
    About(otherwise="crop", in_text="", place=Place.PICTURED),
]
