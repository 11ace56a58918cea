"""How many cores this process may use: of the machine, its affinity, and its container, whichever are fewest."""

from __future__ import annotations

import math
import os
from pathlib import Path

#: "QUOTA PERIOD" in microseconds, or "max PERIOD": https://docs.kernel.org/admin-guide/cgroup-v2.html
CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cgroup_limit: Path = CGROUP_LIMIT) -> int:
    """Return the number of cores, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup_limit.read_text().split()
        limit = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return allowed
    return max(1, min(allowed, limit))


def share_of_cores(num_processes: int) -> int:
    """Return the cores of one of several processes that work side by side, at least 1."""
    return max(1, usable_cores() // max(1, num_processes))
