"""Small pictures for the grid: a page of sixty does not load sixty whole ones.

They are made when they are asked for, a few at a time, and the newest kept in memory. A picture that is small already
is handed on as it is.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from sigmafarm_common.objects import ObjectStore

#: The longest side of a thumbnail in pixels: sharp on a dense screen in a tile of half of that.
SIDE_PX = 384
#: A file up to this is its own thumbnail.
SMALL_BYTES = 24 << 10
#: Thumbnails that are made at the same time, and bytes of them that are kept.
NUM_AT_ONCE, KEPT_BYTES = 2, 48 << 20

_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@dataclass(frozen=True)
class Thumbnail:
    """A small picture and its media type."""

    data: bytes
    media_type: str


class Thumbnails:
    """Makes and keeps them. Safe for threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Thumbnail] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()
        self._makers = threading.BoundedSemaphore(NUM_AT_ONCE)

    def of(self, objects: ObjectStore, key: str) -> Thumbnail:
        """Return the thumbnail of a stored picture. Raises NotFound, StorageUnavailable."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._makers:
            made = thumbnail(objects.get(key))
        with self._lock:
            if key not in self._kept:
                self._num_bytes += len(made.data)
            self._kept[key] = made
            while self._num_bytes > KEPT_BYTES:
                self._num_bytes -= len(self._kept.popitem(last=False)[1].data)
        return made


def thumbnail(data: bytes) -> Thumbnail:
    """Return a picture, small. What cannot be read as a picture is handed on as nothing that a browser would run."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_TYPES)) as image:
            if len(data) <= SMALL_BYTES:
                return Thumbnail(data, _TYPES[image.format or "PNG"])
            image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
            out = io.BytesIO()
            image.convert("RGB").save(out, "WEBP", quality=82, method=2)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Thumbnail(data, "application/octet-stream")
    return Thumbnail(out.getvalue(), "image/webp")
