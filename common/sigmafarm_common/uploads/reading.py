"""Reads pictures of people: checked before they are decoded, then brought into the one form that is stored.

That form is a PNG of 8 bits, RGB, or RGBA where something is transparent, turned as it is to be seen. What is said by
rule: 16 bits become 8 by rounding; CMYK, palettes and greys become RGB, without their colour profiles; of an animation
nothing is taken; nothing that the file says beside its pixels is kept. A picture whose shorter side is longer than that
of any job is made smaller, to MAX_SIDE_PX: no drawing needs more of it.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import ExifTags, Image

from sigmafarm_common.errors import InvalidPicture, TooLarge
from sigmafarm_common.settings import MAX_SIDE_PX
from sigmafarm_common.uploads.headers import read_header

#: Longest file, and most pixels of a picture that is decoded: 24 megapixels of a camera are within.
MAX_FILE_BYTES, MAX_PIXELS = 32 << 20, 1 << 25
#: How hard a stored PNG is pressed: three times as fast as usual, a few percent longer.
COMPRESS_LEVEL = 3
#: What Pillow's readers raise for files that are damaged or made to be.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
#: How a picture is turned for each EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ReadPicture:
    """A picture in the form that is stored."""

    png: bytes
    width: int
    height: int


def read_picture(data: bytes) -> ReadPicture:
    """Return a file's picture as it is stored. Raises InvalidPicture, or TooLarge for too many bytes."""
    return stored_form(decode(data))


def read_image(image: Image.Image) -> ReadPicture:
    """Return a picture of Pillow as it is stored. Raises InvalidPicture for what is none, or is too large."""
    if not isinstance(image, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance] - programs are not checked
        raise InvalidPicture(f"a {type(image).__name__} is no picture: give a path, the bytes of a file, or an Image")
    check_pixels(*image.size)
    try:
        return stored_form(as_eight_bits(_turned(image)))
    except DAMAGED as error:
        raise InvalidPicture(f"the picture cannot be read ({str(error)[:200]}): convert it to RGB first") from None


def stored_form(image: Image.Image) -> ReadPicture:
    """Return a picture of 8 bits, RGB or RGBA, as it is stored."""
    shorter = min(image.size)
    if shorter > MAX_SIDE_PX:
        width, height = (round(side * MAX_SIDE_PX / shorter) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.info = {}
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=COMPRESS_LEVEL)
    return ReadPicture(file.getvalue(), *image.size)


def decode(data: bytes) -> Image.Image:
    """Return a file's picture, RGB or RGBA of 8 bits, turned as it is to be seen.

    Raises InvalidPicture for what is no picture, damaged, cut off, animated or of too many pixels; TooLarge.
    """
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"the picture has {len(data)} bytes, above {MAX_FILE_BYTES}: save it smaller")
    header = read_header(data)
    check_pixels(header.width, header.height)
    try:
        with Image.open(io.BytesIO(data), formats=(header.file_format,)) as image:
            check_pixels(*image.size)
            num_frames = getattr(image, "n_frames", 1) if header.file_format != "JPEG" else 1
            if num_frames > 1 or image.info.get("default_image"):
                raise InvalidPicture(f"the {header.file_format} is an animation: save one frame of it as a picture")
            image.load()
            return as_eight_bits(_turned(image))
    except DAMAGED as error:
        said = str(error) or type(error).__name__
        raise InvalidPicture(
            f"the {header.file_format} cannot be decoded ({said[:200]}): it is cut off or damaged; send it whole"
        ) from None


def as_eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as RGB, or as RGBA where something of it is transparent."""
    if image.mode.startswith("I"):
        wide = image if image.mode == "I" else image.convert("I")
        image = wide.point(lambda value: value * (1 / 257) + 0.5).convert("L")
        image.info.pop("transparency", None)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        if clear.getchannel("A").getextrema() != (255, 255):
            return clear
        return clear.convert("RGB")
    return image.convert("RGB")


def check_pixels(width: int, height: int) -> None:
    """Raise InvalidPicture for more pixels than are decoded."""
    if width * height > MAX_PIXELS:
        raise InvalidPicture(
            f"the picture has {width} x {height} pixels, above {MAX_PIXELS} in all: make it smaller, to {MAX_SIDE_PX} "
            "a side; no drawing needs more"
        )


def _turned(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DAMAGED:  # what cannot be read says nothing
        turn = None
    return image if turn is None else image.transpose(turn)
