"""Pictures become files with their settings inside; picture_text.py in common reads them back.

Two texts are embedded. `parameters` is what A1111 and the tools around it read (`write_text` of picture_text.py).
`sigmafarm` is JSON with every setting, exact, whatever the prompt holds. PNG carries both as text chunks; JPEG and WEBP
in EXIF: UserComment, as A1111 does it, and ImageDescription.

Encoding runs outside the engine's thread; Pillow and zlib release the interpreter lock while they compress.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from sigmafarm_common.inside import Inside
from sigmafarm_common.job_warnings import JobWarning, bounded
from sigmafarm_common.picture_text import FINGERPRINT, INSIDE, UNICODE, WARNINGS, Embedded, read_parameters, write_text
from sigmafarm_common.settings import LONG_TEXTS, SUBMITTERS_OWN, OutputFormat, RenderRequest

__all__ = ["Embedded", "encode", "read_parameters", "settings_of"]

#: Quality of the lossy formats, unless the request says it.
JPEG_QUALITY, WEBP_QUALITY = 95, 90
#: zlib's effort for PNG. Level 6, Pillow's own, took 1 to 3 times as long on three kinds of 512-pixel pictures, for
#: files from 4 % smaller to 3 % larger.
PNG_LEVEL = 4
#: EXIF's block of a JPEG holds 65,533 bytes; what is left for the two texts.
MAX_EXIF_TEXT_BYTES = 64_000


def encode(
    pixels: NDArray[np.uint8],
    output_format: OutputFormat | str,
    request: RenderRequest,
    model_name: str,
    fingerprint: str = "",
    warnings: Sequence[JobWarning] = (),
    inside: Inside | None = None,
) -> bytes:
    """Return the file of a picture [H, W, 3] with the settings of its resolved request embedded, its warnings, the
    fingerprint of the model that drew it, and what it was drawn with, where these are known."""
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    settings = settings_of(request, model_name, fingerprint, warnings)
    if inside:
        settings[INSIDE] = inside.said()
    if output_format == OutputFormat.PNG:
        image.save(file, "PNG", compress_level=PNG_LEVEL, pnginfo=_png_info(settings))
    elif output_format == OutputFormat.JPEG:
        quality = max(1, _quality(request, JPEG_QUALITY))  # Pillow takes 0 for its own
        image.save(file, "JPEG", quality=quality, subsampling=0, exif=_exif(settings, MAX_EXIF_TEXT_BYTES))
    else:
        image.save(file, "WEBP", quality=_quality(request, WEBP_QUALITY), exif=_exif(settings, None))
    return file.getvalue()


def _quality(request: RenderRequest, otherwise: int) -> int:
    return otherwise if request.output_quality is None else request.output_quality


def settings_of(
    request: RenderRequest, model_name: str, fingerprint: str = "", warnings: Sequence[JobWarning] = ()
) -> dict[str, Any]:
    """Return every setting of a resolved request as plain JSON values, with the model's name, its fingerprint and the
    job's warnings where there are some."""
    known = {FINGERPRINT: fingerprint} if fingerprint else {}
    told = {WARNINGS: [each.model_dump() for each in bounded(warnings)]} if warnings else {}
    said = {name: value for name, value in request.said().items() if name not in SUBMITTERS_OWN}
    return {**said, "model": model_name, **known, **told}


def _png_info(settings: Mapping[str, Any]) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    # Pillow writes tEXt where Latin-1 is enough and iTXt where not. The JSON is ASCII: any reader finds it whole.
    info.add_text("parameters", write_text(settings))
    info.add_text("sigmafarm", json.dumps(settings))
    return info


def _exif(settings: Mapping[str, Any], max_bytes: int | None) -> bytes:
    comment, description = _fitted(settings, max_bytes)
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = description
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    # Pillow calls bytes BYTE. UserComment is UNDEFINED (Exif 2.32), and readers such as piexif refuse another type.
    data, entry = exif.tobytes(), ">HHI"
    as_byte, as_undefined = (struct.pack(entry, ExifTags.Base.UserComment, kind, len(comment)) for kind in (1, 7))
    assert data.count(as_byte) == 1
    return data.replace(as_byte, as_undefined)


def _fitted(settings: Mapping[str, Any], max_bytes: int | None) -> tuple[bytes, bytes]:
    """Return UserComment and ImageDescription within a bound; prompts far beyond 77 tokens are cut to fit it.

    What it was drawn with is left out first, then the text for people is cut, the exact one only where it does not fit
    alone.
    """
    comment = description = b""
    bare = {name: value for name, value in settings.items() if name != INSIDE}
    for kept, max_chars, max_exact_chars in (
        (settings, None, None),
        (bare, None, None),
        (bare, 1000, None),
        (bare, 1000, 2500),
    ):
        comment = UNICODE + write_text(_cut(kept, max_chars)).encode("utf-16-be")
        description = json.dumps(_cut(kept, max_exact_chars), ensure_ascii=False).encode()
        if max_bytes is None or len(comment) + len(description) <= max_bytes:
            break
    return comment, description


def _cut(settings: Mapping[str, Any], max_chars: int | None) -> dict[str, Any]:
    if max_chars is None:
        return dict(settings)
    cut = {k: settings[k][:max_chars] for k in LONG_TEXTS if len(settings.get(k, "")) > max_chars}
    return {**settings, **cut, "is_cut": True}
