"""From an acknowledged submit to the begin of the first step, on an idle farm of a real Redis and a real worker: with
the bell and with rounds alone, in turns, in one run. And what an idle farm asks of Redis, both ways.

    python tests/bench/first_step_bench.py [--rounds 5] [--out tests/bench/results/first_step.jsonl]

The keeper that leads is this process's; the one beside the worker stands by, as in any farm. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm import Farm  # noqa: E402 - after the path
from sigmafarm_common.celery_app import make_app, publisher  # noqa: E402
from sigmafarm_common.keeper import Keeper, Round  # noqa: E402
from sigmafarm_common.loop import Loop  # noqa: E402
from sigmafarm_common.store.redis_store import RedisStore  # noqa: E402
from tests.bench.about import about, put_down  # noqa: E402
from tests.bench.timed_worker import COMMAND, FILE_VARIABLE  # noqa: E402
from tests.farm_harness import FarmHarness  # noqa: E402
from tests.limits import until  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

#: Requests of each round and way; the first of a way, which opens connections, does not count.
NUM_REQUESTS = 8
#: Seconds over which the commands of an idle farm are counted.
IDLE_S = 10.0


class Rounds(Keeper):
    """The keeper as it was: it hears no bell."""

    def next_round(self) -> Round | None:
        return self.run_once()

    def pause(self) -> None:
        Loop.pause(self)

    def on_stop(self) -> None:
        pass


WAYS = {"bell": Keeper, "rounds": Rounds}


class TimedFarm(FarmHarness):
    """A worker that notes first steps."""

    command = tuple(COMMAND)

    def __init__(self, folder: Path, redis_url: str):
        super().__init__(folder, redis_url=redis_url)
        self.notes = folder / "first_steps"
        self.notes.touch()
        self.environment = {**self.environment, FILE_VARIABLE: str(self.notes), "PYTHONPATH": os.pathsep.join(sys.path)}

    def lead(self, way: str) -> Keeper:
        """Return a keeper of a way that leads."""
        store = RedisStore(self.config)
        keeper = WAYS[way](self.config, store, publisher(make_app(self.config)))

        def leads() -> bool:
            store.client.delete(f"{self.config.namespace}:keeper")  # the worker's may have been quicker
            return keeper.run_once() is not None

        until(leads, "this keeper leads")
        keeper.start()
        return keeper

    def first_step_s(self, seed: int) -> tuple[float, float]:
        """Submit a picture and return the seconds from the answer to the begin and to the end of its first step."""
        batch = Farm(self.config).submit([{"prompt": "a red circle", "seed": seed, "num_inference_steps": 2}])
        answered_s = time.time()
        self.wait_for_batch(batch.id)
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        noted = {what: float(at) for number, what, at in lines if number == str(seed)}
        return noted["begun"] - answered_s, noted["done"] - answered_s

    def idle_commands_per_s(self) -> float:
        client = RedisStore(self.config).client
        before, begun_s = client.info("stats")["total_commands_processed"], time.monotonic()
        time.sleep(IDLE_S)
        return (client.info("stats")["total_commands_processed"] - before) / (time.monotonic() - begun_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = RedisServer(Path(name) / "redis", has_aof=True, options=("--appendfsync", "everysec"))
        server.start()
        farm = TimedFarm(Path(name), server.url)
        try:
            found = report(*measured(farm, arguments.rounds))
        finally:
            farm.close()
            server.stop()
    put_down(found, arguments.out)


def measured(farm: TimedFarm, num_rounds: int) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[float]]]:
    """Return by way the seconds to each first step's begin and end, and the commands a second of each idle time."""
    took_s: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    idle: dict[str, list[float]] = {way: [] for way in WAYS}
    keeper, seed = farm.lead(next(iter(WAYS))), 0
    farm.start_worker()
    farm.wait_for_workers(1)
    for _ in range(num_rounds):
        for way in WAYS:
            keeper.stop()  # the next one leads at once, before the worker's own
            keeper = farm.lead(way)
            for n in range(NUM_REQUESTS):
                seed += 1
                time.sleep(0.1 + 0.07 * n)  # anywhere between two rounds of the keeper
                one_s = farm.first_step_s(seed)
                took_s[way] += [one_s] if n else []
            idle[way].append(farm.idle_commands_per_s())
    keeper.stop()
    return took_s, idle


def report(took_s: dict[str, list[tuple[float, float]]], idle: dict[str, list[float]]) -> dict[str, Any]:
    begun_ms = {way: [round(1000 * begun, 1) for begun, _ in each] for way, each in took_s.items()}
    done_ms = {way: [round(1000 * done, 1) for _, done in each] for way, each in took_s.items()}
    medians = {way: statistics.median(each) for way, each in begun_ms.items()}
    return {
        "bench": "first_step",
        "median_ms": {way: round(each, 1) for way, each in medians.items()},
        "max_ms": {way: max(each) for way, each in begun_ms.items()},
        "ratio": round(medians["bell"] / medians["rounds"], 3),
        "median_end_ms": {way: round(statistics.median(each), 1) for way, each in done_ms.items()},
        "idle_commands_per_s": {way: round(statistics.median(each), 1) for way, each in idle.items()},
        "all_ms": begun_ms,
        **about("celery", "redis", "torch"),
    }


if __name__ == "__main__":
    main()
