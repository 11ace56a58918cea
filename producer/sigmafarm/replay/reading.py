"""What a picture's file says of how it was drawn: ours whole, AUTOMATIC1111's text as far as we know its words.

The file is anybody's: its text is looked at without decoding a pixel, in bounded time, and whatever does not fit is
left out and said in `notes`.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from sigmafarm_common.errors import FieldError, InvalidRequest, UnreadableInput
from sigmafarm_common.picture_text import MAX_LINE_CHARS, Embedded, read_parameters, read_text
from sigmafarm_common.settings import SETTING_FIELDS, RenderRequest
from sigmafarm_common.validation import shown

#: The longest text that is looked at, in characters.
MAX_TEXT_CHARS = 100_000
#: Notes that are made of a picture.
SHOWN_NOTES = 12
#: What else a request may say beside its settings.
_OTHERS = ("prompt", "labels")
_LAST_WORD = re.compile(r"(?:^|, )([A-Z][\w /-]{0,40}): ")
#: Words of AUTOMATIC1111's text that `read_text` knows or that change no picture of ours.
_KNOWN_WORDS = frozenset({"Size", "Sampler", "Schedule type", "Version", "Model hash", "VAE hash"})
_BROKEN = (OSError, ValueError, SyntaxError, TypeError, AttributeError, KeyError, RecursionError, struct.error)


@dataclass(frozen=True)
class ReadPicture:
    """What a picture says of itself, checked: `settings` can be submitted as they are."""

    #: `sigmafarm` for ours, `parameters` for AUTOMATIC1111's text.
    source: str
    settings: Mapping[str, Any]
    #: What it says and cannot be had here, a sentence each.
    notes: tuple[str, ...] = ()
    #: What the model that drew it is made of; empty where the file does not say.
    fingerprint: str = ""
    size: tuple[int, int] = field(default=(0, 0))


def read_picture(data: bytes) -> ReadPicture:
    """Return what a PNG, JPEG or WEBP says. Raises UnreadableInput for one that is none, or says nothing."""
    embedded, size = _embedded(data)
    if embedded.settings:
        settings, notes = _checked(embedded.settings)
        if "prompt" in settings:
            return ReadPicture("sigmafarm", settings, tuple(notes), embedded.fingerprint, size)
    text = embedded.parameters[:MAX_TEXT_CHARS]
    if not text.strip():
        raise UnreadableInput("the picture says nothing of how it was drawn: its settings were not written, or removed")
    said = read_text(text)
    settings, notes = _checked({"width": str(size[0]), "height": str(size[1]), **said})
    return ReadPicture("parameters", settings, (*_strange_words(text, said), *notes), "", size)


def text_in(data: bytes) -> str:
    """Return AUTOMATIC1111's text in a PNG, JPEG or WEBP, shortened where it is far too long; empty where there is
    none. Raises UnreadableInput for what is no such file."""
    embedded, _ = _embedded(data)
    return embedded.parameters[:MAX_TEXT_CHARS]


def _embedded(data: bytes) -> tuple[Embedded, tuple[int, int]]:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            size = image.size
    except (*_BROKEN, Image.DecompressionBombError):
        raise UnreadableInput("the file is no PNG, JPEG or WEBP that can be read: give a picture") from None
    try:
        return read_parameters(data), size
    except (*_BROKEN, Image.DecompressionBombError):
        raise UnreadableInput(
            "the picture's text cannot be read: it was not written by this farm, or damaged"
        ) from None


def _checked(said: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that fit, and a sentence for each that does not."""
    settings: dict[str, Any] = {}
    notes: list[str] = []
    for name, value in list(said.items())[:64]:
        if name == "is_cut":
            notes.append("its prompts did not fit into the file whole: what they began with is taken")
        elif name not in SETTING_FIELDS and name not in _OTHERS:
            notes.append(f"{shown(name)} is no setting of this farm: left out")
        elif value not in ("", None) or name == "prompt":
            settings[name] = value
    settings.setdefault("prompt", "")
    for _ in range(len(settings)):
        try:
            return RenderRequest.parse(settings).said(), notes[:SHOWN_NOTES]
        except InvalidRequest as error:
            for each in error.fields:
                settings.pop(each.field, None)
                notes.append(f"{_sentence(each)}; left out")
            settings.setdefault("prompt", "")
    return {}, notes[:SHOWN_NOTES]


def _sentence(error: FieldError) -> str:
    return error.message[:300]


def _last_line(text: str) -> str:
    return text.rsplit("\n", 1)[-1]


def _strange_words(text: str, said: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each word of the last line that says nothing to us, and for a sampler that is unknown."""
    words = dict.fromkeys(_LAST_WORD.findall(_last_line(text)[:MAX_LINE_CHARS]))
    if "Steps" not in words:
        return []
    known = {each.in_text for each in SETTING_FIELDS.values()} | _KNOWN_WORDS
    notes = [f"{word!r} says nothing to this farm: left out" for word in words if word not in known]
    if "Sampler" in words and "sampler" not in said:
        notes.insert(0, "the sampler is none of this farm's: its own default draws in its place")
    return notes[:SHOWN_NOTES]
