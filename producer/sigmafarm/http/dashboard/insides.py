"""What pictures were drawn with, read out of their files, the newest kept: a file never changes."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict

from PIL import Image

from sigmafarm_common.inside import Inside
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.picture_text import read_parameters

#: Pictures of which it is kept, and files that are read at the same time.
NUM_KEPT, NUM_AT_ONCE = 64, 2
#: What Pillow and our reading say of a file that is none of ours.
_BROKEN = (OSError, ValueError, SyntaxError, TypeError, AttributeError, KeyError, RecursionError, struct.error)


class Insides:
    """Reads and keeps them. Safe for threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Inside | None] = OrderedDict()
        self._lock = threading.Lock()
        self._readers = threading.BoundedSemaphore(NUM_AT_ONCE)

    def of(self, objects: ObjectStore, key: str) -> Inside | None:
        """Return what a stored picture says of its drawing, None where it says nothing. Raises NotFound,
        StorageUnavailable."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._readers:
            found = inside_of(objects.get(key))
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > NUM_KEPT:
                self._kept.popitem(last=False)
        return found


def inside_of(data: bytes) -> Inside | None:
    """Return what a picture's file says; None for one that says nothing or cannot be read."""
    try:
        return read_parameters(data).inside
    except (*_BROKEN, Image.DecompressionBombError):
        return None
