"""This farm in the comparison: real supervisors, workers, keeper and records around engines that wait."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sigmafarm import Farm
from sigmafarm_common.config import Config
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from tests.bench.queues.apps.work import CONCURRENCY, TASK_S
from tests.bench.queues.faults import Fault
from tests.bench.queues.ledger import Outcome
from tests.bench.queues.stage import NUM_WORKERS, ROOT, Stage
from tests.bench.queues.workers import Workers
from tests.chaos.simulated_engine import STEP_VARIABLE
from tests.limits import until

STEPS = 50
COMMAND = (sys.executable, "-m", "tests.bench.queues.apps.our_worker")


def run(folder: Path, stage: Stage, faults: Sequence[Fault], num_jobs: int) -> Outcome:
    """Submit, let all go wrong, wait for the end. Raises AssertionError where the records do not say what the ledger
    says: jobs that were done and did not succeed, or the other way round."""
    models = folder / "models.toml"
    models.write_text('[models.m]\npath = "m"\ndefaults = { height = 64, width = 64 }\n')
    config = Config.load(
        redis_url=stage.broker.url,
        objects_url=str(folder / "objects"),
        data_dir=folder / "data",
        models_file=models,
        max_images=CONCURRENCY,
        cpu_niceness=0,
    )

    def start(number: int) -> subprocess.Popen[bytes]:
        own = {"SIGMAFARM_REDIS_URL": stage.url_of(number), STEP_VARIABLE: str(TASK_S / STEPS)}
        told = stage.environment(stage.url_of(number), {**config.environ(), **own})
        with (folder / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(COMMAND, env=told, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)

    store, workers = RedisStore(config), Workers(NUM_WORKERS, start)
    until(lambda: len(store.workers()) == NUM_WORKERS, "the workers are ready")
    began_s = time.time()
    with Farm(config) as producer:
        rows = [f"job {n}" for n in range(num_jobs)]
        batch = producer.submit(rows, defaults={"num_inference_steps": STEPS}).id
    outcome = stage.run(faults, workers, num_jobs, began_s)
    num_lost = outcome.num_lost
    if not num_lost:
        until(lambda: store.batch(batch).counts.is_done, "what was drawn last is recorded")
    num_recorded = sum(job.state is JobState.SUCCEEDED for job in store.jobs(batch, limit=num_jobs))
    workers.end()
    assert num_lost or num_recorded == num_jobs, f"{num_jobs - num_recorded} jobs were drawn and did not succeed"
    return outcome
