"""One contender's run: broker, ledger, workers that are started again when they die, and the faults."""

from __future__ import annotations

import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.queues.faults import LASTS_S, Fault, Kind
from tests.chaos.proxy import Mode, Proxy
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
NUM_WORKERS = 2
#: Seconds after the last fault that a contender gets to finish.
PATIENCE_S = 150.0
LOOK_S = 0.2


@dataclass(frozen=True)
class Outcome:
    """What became of the jobs."""

    num_jobs: int
    num_lost: int
    #: Jobs that were done more than once, and jobs that were begun more often than they were done.
    num_doubled: int
    num_begun_in_vain: int
    #: From the first submit to the last job done; None where some never were.
    seconds: float | None
    #: Of the gaps between two jobs that were done, the longest: how long nothing came out.
    longest_gap_s: float

    def said(self) -> dict[str, Any]:
        return vars(self)


class Ledger:
    """What jobs said of themselves, on a server that no fault meets."""

    def __init__(self, folder: Path):
        self.server = RedisServer(folder)
        self.server.start()
        self._client = self.server.client()

    @property
    def num_done(self) -> int:
        return self._client.hlen("done")

    def outcome(self, num_jobs: int, began_s: float) -> Outcome:
        done = {job: int(n) for job, n in self._client.hgetall("done").items()}
        begun = sum(int(n) for n in self._client.hvals("begun"))
        at = sorted(float(each) for each in self._client.hvals("at"))
        gaps = [after - before for before, after in zip([began_s, *at], at, strict=False)]
        return Outcome(
            num_jobs=num_jobs,
            num_lost=num_jobs - len(done),
            num_doubled=sum(n > 1 for n in done.values()),
            num_begun_in_vain=begun - sum(done.values()),
            seconds=round(at[-1] - began_s, 1) if len(done) == num_jobs else None,
            longest_gap_s=round(max(gaps, default=0.0), 1),
        )


class Workers:
    """Worker processes of one command, each started again when it is gone."""

    def __init__(self, start: Callable[[int], subprocess.Popen[bytes]]):
        self._start = start
        self.all = [start(n) for n in range(NUM_WORKERS)]

    def tend(self) -> None:
        """Start again what has ended, as a service manager does."""
        for number, worker in enumerate(self.all):
            if worker.poll() is not None:
                self.all[number] = self._start(number)

    def end(self) -> None:
        for worker in self.all:
            worker.send_signal(signal.SIGCONT)
            worker.kill()
            worker.wait()


class Stage:
    """Injects the faults."""

    def __init__(self, folder: Path):
        options = ("--appendfsync", "everysec")
        self.broker = RedisServer(folder / "broker", has_aof=True, options=options)
        self.broker.start()
        #: Each worker has a line to the broker of its own, that can be cut.
        self.lines = [Proxy(self.broker.port) for _ in range(NUM_WORKERS)]
        self.ledger = Ledger(folder / "ledger")

    def url_of(self, number: int) -> str:
        return f"redis://127.0.0.1:{self.lines[number].port}/0"

    def run(self, faults: Sequence[Fault], workers: Workers, num_jobs: int, began_s: float) -> Outcome:
        """Let all go wrong, then wait for the end."""
        for fault in faults:
            self._wait(fault.after_s, workers)
            self._inject(fault, workers)
        end_s = time.monotonic() + PATIENCE_S
        while self.ledger.num_done < num_jobs and time.monotonic() < end_s:
            self._wait(LOOK_S, workers)
        return self.ledger.outcome(num_jobs, began_s)

    def _wait(self, seconds: float, workers: Workers) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, LOOK_S))
            workers.tend()

    def _inject(self, fault: Fault, workers: Workers) -> None:
        victim, lasts_s = workers.all[fault.victim], LASTS_S[fault.kind]
        if fault.kind is Kind.KILL_WORKER:
            victim.kill()
            victim.wait()
        elif fault.kind is Kind.END_WORKER:
            victim.terminate()
        elif fault.kind is Kind.FREEZE_WORKER:
            victim.send_signal(signal.SIGSTOP)
            self._wait(lasts_s, workers)
            victim.send_signal(signal.SIGCONT)
        elif fault.kind is Kind.CUT_OFF:
            self.lines[fault.victim].mode = Mode.SWALLOW
            self._wait(lasts_s, workers)
            self.lines[fault.victim].mode = Mode.PASS
        elif fault.kind is Kind.KILL_BROKER:
            self.broker.kill()
            self._wait(lasts_s, workers)
            self.broker.start()
        else:
            self.broker.freeze()
            self._wait(lasts_s, workers)
            self.broker.thaw()
        workers.tend()

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.broker.stop()
        self.ledger.server.stop()


def median(outcomes: Sequence[Outcome], figure: str) -> float | None:
    """Return the middle of a figure; None where a run has none."""
    found = [getattr(each, figure) for each in outcomes]
    return None if any(each is None for each in found) else statistics.median(found)


def environment(stage: Stage, number: int, more: Mapping[str, str]) -> dict[str, str]:
    """Return what a contender's process is told: its broker and the ledger."""
    import os

    return {
        **os.environ,
        "QUEUES_BROKER": stage.url_of(number),
        "QUEUES_LEDGER": stage.ledger.server.url,
        "PYTHONPATH": str(ROOT),
        **more,
    }
