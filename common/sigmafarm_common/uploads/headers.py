"""What a picture's file says of its format and size, read from its first bytes alone: nothing is decoded for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sigmafarm_common.errors import InvalidPicture
from sigmafarm_common.validation import shown

#: Markers of a JPEG that stand for themselves, without a length.
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
#: Markers behind which a JPEG's height and width stand.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Marker behind which its pixels begin.
_SCAN = 0xDA
#: First bytes that a message repeats.
_SHOWN_BYTES = 16


class Header(NamedTuple):
    """The format, as Pillow calls it, and the size in pixels before any turn."""

    file_format: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """Return what a file's first bytes say. Raises InvalidPicture for what is no PNG, JPEG or WEBP, or is cut off."""
    for signature, (file_format, read) in _FORMATS.items():
        if data.startswith(signature):
            size = read(data)
            if size is None or min(size) < 1:
                raise InvalidPicture(f"the file begins as a {file_format} and says no size: it is cut off or damaged")
            return Header(file_format, *size)
    if not data:
        raise InvalidPicture("the file is empty: send a PNG, JPEG or WEBP")
    raise InvalidPicture(
        f"the file is no PNG, JPEG or WEBP, whatever its name says (it begins with {shown(data[:_SHOWN_BYTES])}): "
        "save it as one of them"
    )


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == _SCAN:
            return None
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind, body = data[12:16], data[20:30]
    if data[8:12] != b"WEBP" or len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


_FORMATS: Mapping[bytes, tuple[str, Callable[[bytes], tuple[int, int] | None]]] = {
    b"\x89PNG\r\n\x1a\n": ("PNG", _png_size),
    b"\xff\xd8\xff": ("JPEG", _jpeg_size),
    b"RIFF": ("WEBP", _webp_size),
}
