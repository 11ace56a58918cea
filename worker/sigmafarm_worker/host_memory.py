"""The C library's memory, from which a CPU's tensors come: kept between passes, given back when there is nothing to do.

glibc hands what is free at the end of its heap back to the system at once, and has it back, cleared page by page, for
the next tensor: thousands of pages in a pass of the bundled model at its native size, a million with larger pictures,
for a thread has heaps of its own, in pieces of 64 MiB. With one heap for all threads, that keeps what is free, none;
and its peak is no higher (worker/README.md).

Other C libraries have no such settings, and are left as they are. What the environment says (MALLOC_*) is not
overridden.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

#: Of malloc.h: what mallopt is told.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: Bytes that are free at the end of the heap before any are given back, and of one piece that comes from the system.
_KEPT = 1 << 30
#: Seconds without work after which it is given back: the next picture pays for having it again, once.
GIVE_BACK_AFTER_S = 10.0
#: Each setting with its name in the environment.
SETTINGS = {
    "MALLOC_ARENA_MAX": (_ARENA_MAX, 1),
    "MALLOC_TRIM_THRESHOLD_": (_TRIM_THRESHOLD, _KEPT),
    "MALLOC_MMAP_THRESHOLD_": (_MMAP_THRESHOLD, _KEPT),
}


def keep_freed_memory() -> bool:
    """Keep what is freed for what comes next. Call it before there are threads: each has its heap from its first piece
    on. Return whether this process's C library can."""
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    taken = [name in os.environ or mallopt(*said) == 1 for name, said in SETTINGS.items()]
    return all(taken)


def give_back_freed_memory() -> None:
    """Give what is free back to the system."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim.argtypes = [ctypes.c_size_t]
        trim(0)


class SpareMemory:
    """Gives back what is free once there was nothing to do for a while."""

    def __init__(self) -> None:
        #: When there was something to do last, in monotonic seconds; None once all is given back.
        self._busy_s: float | None = None

    def note(self, now_s: float, *, is_idle: bool) -> None:
        """Say whether there is anything to do now."""
        if not is_idle:
            self._busy_s = now_s
        elif self._busy_s is not None and now_s - self._busy_s >= GIVE_BACK_AFTER_S:
            self._busy_s = None
            give_back_freed_memory()


def _function(name: str) -> Any:
    """Return a function of the C library, None where it has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library; another system
        return None
