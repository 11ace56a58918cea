"""A contender's workers: each a command with all its processes, started again when it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

import psutil

#: What Python starts beside a worker's processes, and what does no job.
_HELPER = "resource_tracker"


class Workers:
    """Worker processes of one command. `start` takes a worker's number and gives each a session of its own."""

    def __init__(self, num: int, start: Callable[[int], subprocess.Popen[bytes]]):
        self._start = start
        self._all = [start(n) for n in range(num)]

    def tend(self) -> None:
        """Start again what has ended, as a service manager does: what is left of its processes is ended first."""
        for number, worker in enumerate(self._all):
            if worker.poll() is not None:
                _kill_session(worker)
                self._all[number] = self._start(number)

    def process_that_works(self, number: int) -> psutil.Process:
        """Return the process that does a worker's jobs: where it has several, the one that holds the most memory."""
        with suppress(psutil.Error):
            under = psutil.Process(self._all[number].pid).children(recursive=True)
            if at_work := [p for p in under if not any(_HELPER in part for part in p.cmdline())]:
                return max(at_work, key=lambda p: p.memory_info().rss)
        return psutil.Process(self._all[number].pid)

    def kill_all_of(self, number: int) -> None:
        """End a worker with all its processes, as a crash of its machine does."""
        _kill_session(self._all[number])
        self._all[number].wait()

    def tell_to_end(self, number: int) -> None:
        """Send a worker SIGTERM."""
        self._all[number].terminate()

    def end(self) -> None:
        """End all of them."""
        for number in range(len(self._all)):
            self.kill_all_of(number)


def _kill_session(worker: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
