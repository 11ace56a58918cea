"""From the start of a supervisor to the first step of a job that waits: what a restart, or another machine, costs.

    python -m tests.bench.worker_start_bench [--rounds 5] [--out tests/bench/results/worker_start.jsonl]

A real Redis, the bundled model, programs as they are installed. Each round submits a picture while no worker is there
and starts one; in seconds from the start, by this machine's clock:

    process   the supervisor has come up and has started its worker's process
    ready     that has imported what it needs, has its model resident and warm, and takes jobs
    claimed   it has the job that waited; the first step follows at once

`worker_cpu_s` is the processor time of the worker's process when it was ready. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from sigmafarm import Farm
from sigmafarm_common.config import Config
from tests.bench.about import about, put_down
from tests.limits import until
from tests.redis_server import RedisServer

#: Seconds between two looks.
LOOK_S = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = RedisServer(Path(name) / "redis", has_aof=True, options=("--appendfsync", "everysec"))
        server.start()
        try:
            config = Config.load(
                redis_url=server.url, objects_url=f"{name}/objects", data_dir=Path(name) / "data", num_threads=1
            )
            one_round(config, Farm(config), is_first=True)  # the farm knows its model from here on
            rounds = [one_round(config, Farm(config)) for _ in range(arguments.rounds)]
        finally:
            server.stop()
    medians = {what: round(statistics.median(each[what] for each in rounds), 2) for what in rounds[0]}
    put_down(
        {"bench": "worker_start", "median_s": medians, "rounds_s": rounds, **about("torch", "diffusers")}, arguments.out
    )


def one_round(config: Config, farm: Farm, *, is_first: bool = False) -> dict[str, float]:
    """Start a supervisor, with a job that waits, and return the seconds until each thing was so."""
    batch = None if is_first else farm.submit([{"prompt": "a red circle", "num_inference_steps": 2}])
    begun_s = time.time()
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "sigmafarm_worker"], env=environment(config), stderr=subprocess.DEVNULL
    )
    found: dict[str, float] = {}
    try:
        watched = psutil.Process(supervisor.pid)
        until(lambda: pause() or bool(watched.children()), "the worker's process runs")
        found["process"] = time.time() - begun_s
        worker = watched.children()[0]
        until(lambda: pause() or bool(farm.workers()), "the worker is ready")
        found["ready"] = time.time() - begun_s
        found["worker_cpu_s"] = sum(worker.cpu_times()[:2])
        if batch is not None:
            batch.wait()
            (job,) = batch.jobs()
            found["claimed"] = job.started_ms / 1000 - begun_s
    finally:
        supervisor.terminate()
        supervisor.wait()
    return {what: round(seconds, 2) for what, seconds in found.items()}


def environment(config: Config) -> dict[str, str]:
    """Return what a supervisor of this farm is started with."""
    return {**os.environ, **config.environ(), "OMP_NUM_THREADS": "1"}


def pause() -> bool:
    """Let a moment pass; False, so that a look may follow."""
    time.sleep(LOOK_S)
    return False


if __name__ == "__main__":
    main()
