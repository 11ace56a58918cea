"""How much memory this process has in RAM."""

from __future__ import annotations

import os
import resource
from pathlib import Path

#: Resident pages stand in the second field (proc(5)).
_STATM = Path("/proc/self/statm")


def process_memory_bytes() -> int:
    """Return the resident memory of this process now; where the system does not tell that, its peak."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
