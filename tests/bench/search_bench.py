"""How long a search takes: in one batch of many jobs, in many batches of few, and sorted; with the server's own time.

    python tests/bench/search_bench.py [--jobs 10000] [--tries 5] [--server valkey-9] [--out FILE]

A real server without a farm: jobs are submitted and stay queued, prompts of 40 to 120 characters with seeds of their
own. Each look is made by the store's client in this process, as the API and the command line make it. `server_ms` is
the processor time that the server took for it. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm.search import JobFilter, JobOrder, find_jobs, find_jobs_of_farm, sorted_jobs  # noqa: E402
from sigmafarm_common.config import Config  # noqa: E402 - after the path
from sigmafarm_common.settings import RenderRequest  # noqa: E402
from sigmafarm_common.store.redis_store import RedisStore  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

WORDS = ["red", "blue", "lighthouse", "barn", "dusk", "dawn", "harbour", "fog", "oil", "watercolour", "fox", "tower"]


def requests(num: int, chance: random.Random) -> list[RenderRequest]:
    """Return so many requests; one in 250 holds `zebra`."""
    made: list[RenderRequest] = []
    for n in range(num):
        words = chance.choices(WORDS, k=chance.randint(7, 18)) + ["Zebra"] * (n % 250 == 0)
        fields: dict[str, Any] = {"seed": chance.randrange(2**32), "num_inference_steps": 20 + n % 3, "model": "m"}
        made.append(RenderRequest(prompt=" ".join(words), height=512, width=512, **fields).resolved())
    return made


def submit(store: RedisStore, rows: list[RenderRequest], owner: str) -> str:
    ticket = store.begin_batch(name="", owner=owner, priority=0, defaults={})
    store.add_rows(ticket.batch_id, rows)
    return store.seal_batch(ticket.batch_id).id


def cpu_s(store: RedisStore) -> float:
    info = store.client.info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"]


def measure(store: RedisStore, look: Callable[[], int], tries: int) -> dict[str, Any]:
    """Return the milliseconds of the fastest and the middle of some tries, and what was found."""
    num, times = look(), list[float]()
    before_s = cpu_s(store)
    for _ in range(tries):
        began_s = time.perf_counter()
        look()
        times.append(time.perf_counter() - began_s)
    server_ms = 1000 * (cpu_s(store) - before_s) / tries
    middle_ms = 1000 * sorted(times)[len(times) // 2]
    return {
        "ms": round(middle_ms, 1),
        "least_ms": round(1000 * min(times), 1),
        "server_ms": round(server_ms, 1),
        "found": num,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--server", default="valkey-9")
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), server=said.server)
        server.start()
        try:
            line = json.dumps(_measured(server.url, said))
        finally:
            server.stop()
    print(line)
    if said.out:
        with said.out.open("a") as file:
            file.write(line + "\n")


def _measured(url: str, said: argparse.Namespace) -> dict[str, Any]:
    store, chance = RedisStore(Config(redis_url=url)), random.Random(1)
    batch = store.batch(submit(store, requests(said.jobs, chance), "one"))
    rows = requests(said.jobs, chance)
    for at in range(0, said.jobs, 10):
        submit(store, rows[at : at + 10], "many")
    looks: dict[str, Callable[[], int]] = {
        "zebra": lambda: find_jobs(store, batch, JobFilter(search="zebra")).num,
        "seed_and_zebra": lambda: find_jobs(store, batch, JobFilter(search="seed:0..99999999 zebra")).num,
        "nothing": lambda: find_jobs(store, batch, JobFilter(search="giraffe")).num,
        "worker": lambda: find_jobs(store, batch, JobFilter(search="worker:w")).num,
        "sorted_by_seed": lambda: len(sorted_jobs(store, batch, JobFilter(), JobOrder.SEED)),
        "sorted_by_time": lambda: len(sorted_jobs(store, batch, JobFilter(), JobOrder.TOOK_DOWN)),
        "zebra_in_batches_of_10": lambda: find_jobs_of_farm(store, JobFilter(search="zebra"), owner="many").num,
    }
    found = {name: measure(store, look, said.tries) for name, look in looks.items()}
    about = {"python": platform.python_version(), "redis-py": version("redis"), "hiredis": version("hiredis")}
    return {"jobs": said.jobs, "server": said.server, **found, **about}


if __name__ == "__main__":
    main()
