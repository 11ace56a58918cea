"""This farm in the comparison: real supervisors, workers, keeper and records around engines that sleep.

A job's picture counts as done when it is recorded. Every claim of it but the last counts as begun in vain, though the
job may only have waited for a slot.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from sigmafarm import Farm
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from tests.bench.queues.apps.work import CONCURRENCY, TASK_S
from tests.bench.queues.faults import LASTS_S, Fault, Kind
from tests.bench.queues.stage import LOOK_S, NUM_WORKERS, PATIENCE_S, Outcome, Stage
from tests.chaos.proxy import Mode
from tests.farm_harness import FarmHarness, Supervisor

STEPS = 60


class Machines(FarmHarness):
    """A supervisor with one worker for each line to the broker."""

    command = (sys.executable, "-m", "tests.chaos.simulated_worker")

    def __init__(self, folder: Path, stage: Stage):
        models = folder / "models.toml"
        models.write_text('[models.m]\npath = "m"\ndefaults = { height = 64, width = 64 }\n')
        super().__init__(folder, redis_url=stage.broker.url, models_file=models, max_images=CONCURRENCY)
        more = {"CHAOS_STEP_S": str(TASK_S / STEPS)}
        for number in range(NUM_WORKERS):
            environment = {**self.environment, **more, "SIGMAFARM_REDIS_URL": stage.url_of(number)}
            self.supervisors.append(Supervisor(environment, folder / f"worker-{number}.log", self.command, self.start))

    def child(self, number: int) -> int | None:
        """Return the process id of a supervisor's worker; None while there is none."""
        import psutil

        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.supervisors[number].process.pid).children():
                return each.pid
        return None


def run(folder: Path, stage: Stage, faults: list[Fault], num_jobs: int) -> Outcome:
    """Submit, let all go wrong, wait for the end."""
    farm = Machines(folder, stage)
    farm.wait_for_workers(NUM_WORKERS)
    began_s = time.time()
    with Farm(farm.config) as producer:
        rows = [f"job {n}" for n in range(num_jobs)]
        batch = producer.submit(rows, defaults={"num_inference_steps": STEPS}).id
    for fault in faults:
        _wait(fault.after_s, farm)
        _inject(fault, farm, stage)
    store, end_s = RedisStore(farm.config), time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        with suppress(SigmafarmError):
            if store.batch(batch).counts.is_done:
                break
        _wait(LOOK_S, farm)
    jobs = store.jobs(batch, limit=num_jobs)
    events = [e.job_id for e in store.events(after="0", limit=100_000) if e.kind == "job.succeeded"]
    begun = sum(job.fence for job in jobs)
    farm.close()
    at = sorted(job.finished_ms / 1000 for job in jobs if job.state is JobState.SUCCEEDED)
    gaps = [after - before for before, after in zip([began_s, *at], at, strict=False)]
    return Outcome(
        num_jobs=num_jobs,
        num_lost=num_jobs - len(at),
        num_doubled=len(events) - len(set(events)),
        num_begun_in_vain=begun - len(at),
        seconds=round(at[-1] - began_s, 1) if len(at) == num_jobs else None,
        longest_gap_s=round(max(gaps, default=0.0), 1),
    )


def _wait(seconds: float, farm: Machines) -> None:
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        time.sleep(min(left_s, LOOK_S))
        for supervisor in farm.supervisors:
            if supervisor.process.poll() is not None:
                supervisor.start_again()


def _inject(fault: Fault, farm: Machines, stage: Stage) -> None:
    lasts_s = LASTS_S[fault.kind]
    if fault.kind is Kind.END_WORKER:
        farm.supervisors[fault.victim].terminate()
    elif fault.kind in (Kind.KILL_WORKER, Kind.FREEZE_WORKER):
        child = farm.child(fault.victim)
        if child is None:
            return
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL if fault.kind is Kind.KILL_WORKER else signal.SIGSTOP)
            _wait(lasts_s, farm)
            os.kill(child, signal.SIGCONT)
    elif fault.kind is Kind.CUT_OFF:
        stage.lines[fault.victim].mode = Mode.SWALLOW
        _wait(lasts_s, farm)
        stage.lines[fault.victim].mode = Mode.PASS
    elif fault.kind is Kind.KILL_BROKER:
        stage.broker.kill()
        _wait(lasts_s, farm)
        stage.broker.start()
    else:
        stage.broker.freeze()
        _wait(lasts_s, farm)
        stage.broker.thaw()
