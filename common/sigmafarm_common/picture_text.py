"""What a picture's file says about itself: the texts that the worker's images.py embeds, read back."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

#: How UserComment says that UTF-16 follows.
UNICODE = b"UNICODE\x00"
#: The key of the fingerprint among the embedded settings.
FINGERPRINT = "fingerprint"


@dataclass(frozen=True)
class Embedded:
    """What a picture's file says about itself; empty where it says nothing."""

    #: A1111's text.
    parameters: str
    #: All settings, with the model's name; `is_cut` where a JPEG's 64 KB could not hold the prompts.
    settings: Mapping[str, Any]
    #: What the model that drew it is made of; see ModelCard.
    fingerprint: str = ""


def read_parameters(file: bytes) -> Embedded:
    """Return what `encode` embedded in a file. Raises OSError or ValueError for one that is no picture."""
    image = Image.open(io.BytesIO(file))
    if image.format == "PNG":
        texts: Mapping[str, Any] = getattr(image, "text", {})
        return _embedded(str(texts.get("parameters", "")), str(texts.get("sigmafarm", "")))
    exif = image.getexif()
    comment = bytes(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b""))
    parameters = comment.removeprefix(UNICODE).decode("utf-16-be")
    # Pillow reads a tag of text as Latin-1; ours is UTF-8.
    description = str(exif.get(ExifTags.Base.ImageDescription, "")).encode("latin-1").decode()
    return _embedded(parameters, description)


def is_whole(file: bytes) -> bool:
    """Whether a file is a picture that can be decoded to its end."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True


def _embedded(parameters: str, text: str) -> Embedded:
    said: dict[str, Any] = json.loads(text) if text else {}
    fingerprint = str(said.pop(FINGERPRINT, ""))
    return Embedded(parameters, said, fingerprint)
