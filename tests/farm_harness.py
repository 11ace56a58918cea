"""A whole farm of real processes for tests: a supervisor with its workers beside a real server and an object store."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sigmafarm_common.config import Config
from sigmafarm_common.objects import open_objects
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from tests import programs
from tests.limits import LIMIT_S, until

#: A supervisor's exit code where it does not reach its farm.
FARM_AWAY = 3

__all__ = ["LIMIT_S", "FarmHarness", "Supervisor", "until"]


class Supervisor:
    """One `python -m sigmafarm_worker`, or what stands in for it, with a log of its own."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        command: Sequence[str],
        start: Callable[..., programs.Process] = programs.start,
    ):
        self.log, self._command, self._environment = log, command, {**os.environ, **environment}
        self._start = start
        self.process = self._started()

    def _started(self) -> programs.Process:
        with self.log.open("ab") as out:
            return self._start(self._command, env=self._environment, stderr=out, stdout=out)

    def start_again(self) -> None:
        """Start anew what has ended, as a service manager does."""
        self.process = self._started()

    @property
    def was_too_slow(self) -> bool:
        """Whether it ended because this machine was too busy for the farm's short timeouts while it came up."""
        return self.process.poll() == FARM_AWAY and "does not answer in time" in self.log.read_text()

    def kill(self) -> None:
        """End the supervisor as a crash does; its workers live until they notice."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        return self.process.wait(timeout=limit_s)


class FarmHarness:
    """Settings, store, objects, and any number of supervisors on one server."""

    #: What starts a supervisor.
    command: Sequence[str] = (sys.executable, "-m", "sigmafarm_worker")
    #: How: quickly, unless starts are what is measured.
    start: Callable[..., programs.Process] = staticmethod(programs.start)

    def __init__(self, folder: Path, **settings: object):
        self.folder = folder
        said = {
            "objects_url": str(folder / "objects"),
            "data_dir": folder / "data",
            "num_threads": 1,
            "log_format": "console",
            "cpu_niceness": 0,  # other tests compute beside this farm: it would wait for all of them
            **settings,
        }
        self.config = Config.load(**said)
        self.environment = self.config.environ()
        self.store = RedisStore(self.config)
        self.objects = open_objects(self.config)
        self.supervisors: list[Supervisor] = []

    def start_worker(self) -> Supervisor:
        """Start a supervisor and return at once."""
        log = self.folder / f"worker-{len(self.supervisors)}.log"
        supervisor = Supervisor(self.environment, log, self.command, self.start)
        self.supervisors.append(supervisor)
        return supervisor

    def wait_for_workers(self, num: int) -> list[WorkerInfo]:
        """Wait until so many workers have said that they are ready, and return them."""
        found: list[WorkerInfo] = []

        def are_ready() -> bool:
            found[:] = self.workers()
            return len(found) >= num or self._fail_early()

        until(are_ready, f"{num} workers are ready")
        return found

    def workers(self) -> list[WorkerInfo]:
        return [w for w in self.store.workers() if not w.is_draining]

    def _fail_early(self) -> bool:
        for supervisor in self.supervisors:
            if supervisor.was_too_slow:
                supervisor.start_again()
        ended = [s for s in self.supervisors if s.process.poll() not in (None, 0, -signal.SIGKILL)]
        assert not ended, ended[0].log.read_text()
        return False

    def wait_for_batch(self, batch_id: str, limit_s: float = LIMIT_S) -> None:
        until(lambda: self.store.batch(batch_id).counts.is_done, f"batch {batch_id} is done", limit_s)

    def wait_for_manifest(self, batch_id: str) -> None:
        until(lambda: batch_id not in self.store.finished_batches(), f"the manifest of {batch_id} is written")

    def states(self, batch_id: str) -> dict[JobState, int]:
        """The states of a batch's jobs, read job by job."""
        found: dict[JobState, int] = {}
        for job in self.store.jobs(batch_id, limit=100_000):
            found[job.state] = found.get(job.state, 0) + 1
        return found

    def logs(self) -> str:
        return "\n".join(s.log.read_text() for s in self.supervisors)

    def close(self) -> None:
        """End every supervisor that still runs, and whatever workers they left."""
        for supervisor in self.supervisors:
            if supervisor.process.poll() is None:
                supervisor.terminate()
                supervisor.terminate()
        for supervisor in self.supervisors:
            supervisor.wait()
