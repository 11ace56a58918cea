"""What a picture says about itself: the text that is written into its file and answered to clients, and read back.

The text is what AUTOMATIC1111 writes and the tools around it read: the prompt, the negative prompt behind its words, a
last line of settings. What it cannot hold is changed as `as_text` says; all else comes back as it was. Beside it in the
file stands JSON with every setting, exact (the worker's images.py).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from sigmafarm_common.inside import Inside
from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.samplers import BY_NAME, KARRAS_SUFFIX, LMS, sampler_named
from sigmafarm_common.setting_fields import text_of
from sigmafarm_common.settings import SETTING_FIELDS

#: How UserComment says that UTF-16 follows.
UNICODE = b"UNICODE\x00"
#: The keys, among the embedded settings, of the fingerprint, of the job's warnings, and of what it was drawn with.
FINGERPRINT, WARNINGS, INSIDE = "fingerprint", "warnings", "inside"
#: The words that every text has, in the order that its readers know. Others follow where they are not the farm's
#: default.
USUAL_WORDS = ("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model")
#: What the negative prompt stands behind.
NEGATIVE = "Negative prompt: "
#: A last line with fewer words is a line of the prompt: so AUTOMATIC1111 reads it.
LEAST_WORDS = 3
#: The longest line of settings that is read, in characters.
MAX_LINE_CHARS = 4_000
_WORD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
#: What no reader of text wants to meet; tab and line feed are text. Lone surrogates cannot be encoded at all.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
#: A line of a prompt that readers would take for the negative prompt's beginning.
_LIKE_NEGATIVE = re.compile(r"^([^\S\n]*Negative) (prompt:)", re.MULTILINE)


@dataclass(frozen=True)
class Embedded:
    """What a picture's file says about itself; empty where it says nothing."""

    #: A1111's text.
    parameters: str
    #: All settings, with the model's name; `is_cut` where a JPEG's 64 KB could not hold the prompts.
    settings: Mapping[str, Any]
    #: What the model that drew it is made of; see ModelCard.
    fingerprint: str = ""
    #: What it is to be known for although it was drawn, as its job's record has it.
    warnings: tuple[JobWarning, ...] = ()
    #: The noise levels and tokens that it was drawn with; None where the file does not say.
    inside: Inside | None = None


def write_text(settings: Mapping[str, Any]) -> str:
    """Return the text of a picture that was drawn with these resolved settings, by their names."""
    lines = [as_text(settings["prompt"])]
    if settings.get("negative_prompt"):
        lines.append(NEGATIVE + as_text(settings["negative_prompt"]))
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in words_of(settings).items()))
    return "\n".join(lines)


def parts_of(text: str) -> tuple[str, str, dict[str, str]]:
    """Return the prompt, the negative prompt and the words of a picture's text; all of it is the prompt, and no words
    are there, where its last line is none of settings."""
    *lines, last = text.split("\n")
    # The words of a line are found in time that grows with its square.
    found = _WORD.findall(last) if len(last) <= MAX_LINE_CHARS else []
    words = {name: _unquoted(value) for name, value in found}
    if len(words) < LEAST_WORDS:
        return text, "", {}
    begin = next((n for n, line in enumerate(lines) if line.startswith(NEGATIVE.rstrip())), len(lines))
    negative = "\n".join(lines[begin:]).removeprefix(NEGATIVE.rstrip()).removeprefix(" ")
    return "\n".join(lines[:begin]), negative, words


def read_text(text: str) -> dict[str, Any]:
    """Return the settings that a picture's text tells, by their names, as texts; of a foreign one what we know."""
    prompt, negative, words = parts_of(text)
    if not words:
        return {"prompt": text} if text else {}
    named = {f.name: words[f.in_text] for f in SETTING_FIELDS.values() if f.in_text and f.in_text in words}
    width, _, height = words.get("Size", "").partition("x")
    sized = {"width": width, "height": height} if height else {}
    prompts = {"prompt": prompt, "negative_prompt": negative}
    name, spacing = words.get("Sampler", ""), words.get("Schedule type", "")
    sampler = sampler_named(f"{name} {spacing}") or sampler_named(name)
    spaced = {"karras_sigmas": False, **sampler} if sampler else {}
    return {**prompts, **spaced, **named, **sized}


def words_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the words of the last line with their values."""
    words = {"Sampler": sampler_name(settings)}
    if settings.get("width") and settings.get("height"):
        words["Size"] = f"{settings['width']}x{settings['height']}"
    for field in SETTING_FIELDS.values():
        text = text_of(settings.get(field.name))
        is_usual = field.in_text in USUAL_WORDS or text != text_of(field.about.farm_default)
        if field.in_text and settings.get(field.name) is not None and is_usual:
            words[field.in_text] = as_text(text)
    return {name: words[name] for name in (*USUAL_WORDS, *words) if name in words}


def as_text(text: str) -> str:
    """Return a prompt as the text holds it: control characters and lone surrogates replaced, line ends as one line
    feed, and a no-break space in a line that would begin a negative prompt."""
    printable = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
    return _LIKE_NEGATIVE.sub("\\1\N{NO-BREAK SPACE}\\2", printable)


def sampler_name(settings: Mapping[str, Any]) -> str:
    """Return AUTOMATIC1111's name of what these settings are drawn with."""
    label = BY_NAME[settings.get("sampler") or LMS].label
    return label + KARRAS_SUFFIX if settings.get("karras_sigmas") else label


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
    warnings = tuple(JobWarning.model_validate(each) for each in said.pop(WARNINGS, ()))
    return Embedded(parameters, said, fingerprint, warnings, Inside.read(said.pop(INSIDE, None)))


def _quoted(value: str) -> str:
    is_plain = value == value.strip() and not any(each in value for each in ',:\n"')
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value
