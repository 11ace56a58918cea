"""Keeps the pictures that were used last, up to a number of bytes: many jobs begin with the same one."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

#: A picture's name, whether it is a mask, and the width and height that it was fitted to.
Key = tuple[str, bool, int, int]


class PictureCache:
    """Arrays by key. Safe for threads; nobody writes to what it holds."""

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, NDArray[np.uint8]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        return self._num_bytes

    def get(self, key: Key) -> NDArray[np.uint8] | None:
        """Return a picture, which counts as used now; None for one that is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, pixels: NDArray[np.uint8]) -> None:
        """Keep a picture, and let go of those that were not used for longest."""
        with self._lock:
            if key in self._kept or pixels.nbytes > self._max_bytes:
                return
            self._kept[key] = pixels
            self._num_bytes += pixels.nbytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._kept.popitem(last=False)[1].nbytes
