"""How fast jobs are submitted, beside a Celery apply_async loop on the same server in the same run.

    python tests/bench/submit_bench.py [--jobs 10000] [--rounds 5] [--out tests/bench/results/submit.jsonl]

Ours: `farm.submit` of plain prompts, each validated, resolved, recorded and indexed, and the batch sealed. Celery's:
one `apply_async` a job that carries the same settings. Rounds take turns, so that both see the same machine; one
warm-up round each is not counted. Prints one JSON line, with the medians and every round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from celery import Celery  # noqa: E402 - after the path

from sigmafarm import Config, Farm, ModelCard  # noqa: E402
from sigmafarm_common.settings import FARM_DEFAULTS  # noqa: E402
from tests.bench.about import about  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402


def main() -> None:
    arguments = parsed_arguments()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), has_aof=True, options=("--appendfsync", "everysec"))  # as the farm runs it
        server.start()
        try:
            line = json.dumps(measured(server, arguments.jobs, arguments.rounds))
        finally:
            server.stop()
    print(line)
    if arguments.out:
        with arguments.out.open("a") as file:
            file.write(line + "\n")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def measured(server: RedisServer, num_jobs: int, num_rounds: int) -> dict[str, Any]:
    prompts = [f"a lighthouse at dawn, study number {n}, oil on canvas" for n in range(num_jobs)]
    farm = Farm(Config(redis_url=server.url, data_dir=server.folder))
    app = Celery(broker=server.url, set_as_current=False)
    app.conf.update(task_ignore_result=True, task_serializer="json")
    task = app.task(name="render", ignore_result=True)(never_run)
    rounds: dict[str, list[float]] = {"sigmafarm": [], "celery": []}
    ways: dict[str, Callable[[], None]] = {
        "sigmafarm": lambda: submit_ours(farm, prompts),
        "celery": lambda: submit_celery(task, prompts),
    }
    for number in range(num_rounds + 1):
        for name, way in ways.items():
            server.client().flushall()
            farm.store.register_models([ModelCard(name="bench", defaults={"height": 512, "width": 512})])
            started_s = time.perf_counter()
            way()
            if number > 0:
                rounds[name].append(num_jobs / (time.perf_counter() - started_s))
    return report(num_jobs, rounds)


def never_run(settings: dict[str, Any]) -> None:
    """The task that Celery's messages name; no worker is there to run it."""


def submit_ours(farm: Farm, prompts: list[str]) -> None:
    batch = farm.submit(prompts, name="bench")
    assert batch.counts.queued == len(prompts)


def submit_celery(task: Any, prompts: list[str]) -> None:
    settings = {**FARM_DEFAULTS, "height": 512, "width": 512, "model": "bench"}
    for seed, prompt in enumerate(prompts):
        task.apply_async([{**settings, "prompt": prompt, "seed": seed}], queue="render.bench")


def report(num_jobs: int, rounds: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(rates) for name, rates in rounds.items()}
    return {
        "bench": "submit",
        "jobs": num_jobs,
        "jobs_per_s": {name: round(rate) for name, rate in medians.items()},
        "ratio": round(medians["sigmafarm"] / medians["celery"], 2),
        "ratio_of_rounds": [round(a / b, 2) for a, b in zip(rounds["sigmafarm"], rounds["celery"], strict=True)],
        "rounds": {name: [round(rate) for rate in rates] for name, rates in rounds.items()},
        **about("celery", "kombu", "redis"),
    }


if __name__ == "__main__":
    main()
