"""One contender's run: the broker, the ledger, a line to the broker for each worker, and the faults."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.bench.queues.faults import LASTS_S, Fault, Kind
from tests.bench.queues.ledger import Ledger, Outcome
from tests.bench.queues.workers import Workers
from tests.chaos.proxy import Mode, Proxy
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
NUM_WORKERS = 2
#: Seconds after the last fault that a contender gets to finish.
PATIENCE_S = 150.0
LOOK_S = 0.2


class Stage:
    """Injects the faults and waits for the end."""

    def __init__(self, folder: Path):
        options = ("--appendfsync", "everysec")
        self.broker = RedisServer(folder / "broker", has_aof=True, options=options)
        self.broker.start()
        #: Each worker has a line to the broker of its own, that can be cut.
        self.lines = [Proxy(self.broker.port) for _ in range(NUM_WORKERS)]
        self.ledger = Ledger(folder / "ledger")

    def url_of(self, number: int) -> str:
        """Return where a worker finds the broker."""
        return f"redis://127.0.0.1:{self.lines[number].port}/0"

    def environment(self, broker_url: str, more: Mapping[str, str]) -> dict[str, str]:
        """Return what a contender's process is told: its broker and the ledger."""
        said = {"QUEUES_BROKER": broker_url, "QUEUES_LEDGER": self.ledger.server.url, "PYTHONPATH": str(ROOT)}
        return {**os.environ, **said, **more}

    def run(self, faults: Sequence[Fault], workers: Workers, num_jobs: int, began_s: float) -> Outcome:
        """Let all go wrong, then wait until every job was done, or for as long as patience lasts."""
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
        lasts_s = LASTS_S[fault.kind]
        if fault.kind is Kind.KILL_WORKER:
            workers.process_that_works(fault.victim).kill()
        elif fault.kind is Kind.KILL_MACHINE:
            workers.kill_all_of(fault.victim)
        elif fault.kind is Kind.END_WORKER:
            workers.tell_to_end(fault.victim)
        elif fault.kind is Kind.FREEZE_WORKER:
            victim = workers.process_that_works(fault.victim)
            victim.suspend()
            self._wait(lasts_s, workers)
            with suppress(psutil.NoSuchProcess):  # who watches over it may have ended it
                victim.resume()
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
        """End the servers and the lines."""
        for line in self.lines:
            line.close()
        self.broker.stop()
        self.ledger.close()
