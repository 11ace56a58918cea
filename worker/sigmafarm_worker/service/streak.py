"""Whether a worker keeps failing: errors that were not the jobs' own fault, in a row, without a picture in between.

A device that has gone wrong fails whatever it is given, and fast: left alone, such a worker would draw the farm's jobs
to it and use up their tries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sigmafarm_common.errors import RenderError, SigmafarmError


class Streak:
    """Counts such errors; tells once, with the reason, when there are `limit` of them. Safe for threads.

    A job that is tried again counts once, and so does one error that ended several jobs: a pass fails all its jobs.
    """

    def __init__(self, limit: int, on_broken: Callable[[str], None]):
        self._limit, self._on_broken = limit, on_broken
        self._failures: dict[str, SigmafarmError] = {}
        self._has_told = False
        self._lock = threading.Lock()

    def note_success(self) -> None:
        """Begin anew: a picture was drawn."""
        with self._lock:
            self._failures.clear()

    def note_failure(self, job_id: str, error: SigmafarmError) -> None:
        """Count what ended a job, unless it is the job's own fault."""
        if not is_workers_fault(error):
            return
        with self._lock:
            if job_id in self._failures or any(known is error for known in self._failures.values()):
                return
            self._failures[job_id] = error
            is_broken = len(self._failures) >= self._limit and not self._has_told
            self._has_told = self._has_told or is_broken
        if is_broken:
            self._on_broken(f"{self._limit} jobs in a row failed here; last: {error}")


def is_workers_fault(error: SigmafarmError) -> bool:
    """Whether another worker might have drawn the job: what can be retried, and what nobody foresaw."""
    return error.retryable or type(error) is RenderError
