"""How long each script holds Redis, and what a batch of one job costs it from its submit to its end.

    python tests/bench/script_bench.py [--jobs 2000] [--batches 200] [--out tests/bench/results/scripts.jsonl]

Every long-running call is made once for so many jobs, on an otherwise idle server; the longest single script comes from
SLOWLOG, the sums from INFO: CPU of the server's process, and what of it scripts took. Batches of one are submitted,
dispatched, claimed, finished and concluded one by one, as OpenAI and AUTOMATIC1111 clients bring them. Prints one JSON
line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm_common.concluder import Concluder  # noqa: E402 - after the path
from sigmafarm_common.config import Config  # noqa: E402
from sigmafarm_common.keeper import Keeper  # noqa: E402
from sigmafarm_common.objects.folder import FolderStore  # noqa: E402
from sigmafarm_common.settings import RenderRequest  # noqa: E402
from sigmafarm_common.states import JobState  # noqa: E402
from sigmafarm_common.store.redis_store import RedisStore  # noqa: E402
from sigmafarm_common.store.values import Beat, Output  # noqa: E402
from tests.common.store_contract import worker  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

PROMPT = "a watercolour of a lighthouse at dusk, long shadows, number "


class Bench:
    """A farm on a server whose work is counted."""

    def __init__(self, server: RedisServer, num_jobs: int):
        self.now_ms = 1_700_000_000_000
        self.client, self.num_jobs = server.client(), num_jobs
        self.client.config_set("slowlog-log-slower-than", 500)
        self.client.config_set("slowlog-max-len", 1000)
        config = Config(redis_url=server.url, data_dir=server.folder, retention_s=1, tick_s=0.01, max_losses=9)
        self.config = config
        self.store = RedisStore(config, self.client, now_ms=lambda: self.now_ms)

    def submit(self, num_jobs: int) -> str:
        ticket = self.store.begin_batch(name="bench", owner="ann", priority=0, defaults={})
        asked = {"num_inference_steps": 50, "height": 512, "width": 512, "model": "m"}
        rows = [RenderRequest(prompt=f"{PROMPT}{n}", seed=n, **asked).resolved() for n in range(num_jobs)]
        self.store.add_rows(ticket.batch_id, rows)
        return self.store.seal_batch(ticket.batch_id).id

    def dispatched(self, num_jobs: int) -> list[str]:
        self.store.renew(worker(slots=num_jobs), [])
        return [d.job_id for d in self.store.dispatch(limit=num_jobs)]

    def claimed(self, num_jobs: int) -> list[Any]:
        return [self.store.claim(i, "w1") for i in self.dispatched(num_jobs)]

    def counted(self, call: Callable[[], object]) -> dict[str, float]:
        """Return what a call cost: CPU of the server's process, ms in scripts, commands of scripts and others, and the
        longest that one script held the server."""
        self.client.config_resetstat()
        self.client.slowlog_reset()
        before_s = self._cpu_s()
        call()
        cpu_s = self._cpu_s() - before_s
        stats = {name: said for name, said in self.client.info("commandstats").items() if _is_farms(name)}
        held = [entry["duration"] for entry in self.client.slowlog_get(1000) if "EVALSHA" in str(entry["command"])]
        scripts = stats.get("cmdstat_evalsha", {"usec": 0, "calls": 0})
        return {
            "cpu_ms": round(cpu_s * 1000, 2),
            "scripts_ms": round(scripts["usec"] / 1000, 2),
            "scripts": scripts["calls"],
            "commands": sum(said["calls"] for said in stats.values()),
            "longest_ms": round(max(held, default=0) / 1000, 2),
        }

    def _cpu_s(self) -> float:
        said = self.client.info("cpu")
        return said["used_cpu_user"] + said["used_cpu_sys"]


def _is_farms(name: str) -> bool:
    return not name.startswith(("cmdstat_config", "cmdstat_slowlog", "cmdstat_info"))


def long_calls(bench: Bench) -> dict[str, Any]:
    """Measure every call that touches many jobs."""
    num, found = bench.num_jobs, dict[str, Any]()
    made: list[str] = []
    found["submit"] = bench.counted(lambda: made.append(bench.submit(num)))
    bench.store.renew(worker(slots=num), [])
    found["dispatch"] = bench.counted(lambda: bench.store.dispatch(limit=1000))
    bench.now_ms += 60_000
    found["take_back unclaimed"] = bench.counted(lambda: _until_done(bench, "unclaimed"))
    claims = bench.claimed(min(num, 1000))
    beats = [Beat(c.job_id, getattr(c, "fence", 1), 3, True) for c in claims]
    found["renew"] = bench.counted(lambda: bench.store.renew(worker(slots=num), beats))
    bench.now_ms += 600_000
    found["take_back lost"] = bench.counted(lambda: _until_done(bench, "lost"))
    bench.claimed(min(num, 1000))
    found["release_worker"] = bench.counted(lambda: bench.store.release_worker("w1"))
    found["cancel"] = bench.counted(lambda: bench.store.cancel_batch(made[0]))
    found["retry"] = bench.counted(lambda: bench.store.retry_batch(made[0], states=[JobState.CANCELLED]))
    bench.store.cancel_batch(made[0])
    bench.store.note_manifest(made[0], bench.now_ms)
    bench.now_ms += 600_000
    found["forget"] = bench.counted(lambda: _until_forgotten(bench, made[0]))
    ticket = bench.store.begin_batch(name="x", owner="ann", priority=0, defaults={})
    rows = [RenderRequest(prompt=f"{PROMPT}{n}", seed=n, model="m").resolved() for n in range(num)]
    bench.store.add_rows(ticket.batch_id, rows)
    found["discard"] = bench.counted(lambda: bench.store.discard_batch(ticket.batch_id))
    return found


def _until_done(bench: Bench, kind: str) -> None:
    while getattr(bench.store.take_back(), kind):
        pass


def _until_forgotten(bench: Bench, batch_id: str) -> None:
    while batch_id not in bench.store.forget_batches():
        pass


def one_job_batches(bench: Bench, folder: Path, num: int) -> dict[str, Any]:
    """Measure the whole life of batches of one job: CPU of Redis a batch, and where it goes."""
    objects = FolderStore(folder)
    keeper = Keeper(bench.config, bench.store, lambda _jobs: None)
    concluder = Concluder(bench.config, bench.store, objects, keeper)
    keeper.run_once()

    def live() -> None:
        bench.submit(1)
        (claim,) = bench.claimed(1)
        bench.store.finish(
            claim.job_id, getattr(claim, "fence", 1), Output(f"{claim.batch_id}/000000-f1.png", "a" * 64, 9)
        )

    def conclude() -> None:
        while bench.store.finished_batches():
            concluder.run_once()

    lived = bench.counted(lambda: [live() for _ in range(num)])
    concluded = bench.counted(conclude)
    return {"batches": num, "life": _each(lived, num), "conclude": _each(concluded, num)}


def _each(found: dict[str, float], num: int) -> dict[str, float]:
    return {name: round(found[name] / num, 3) for name in ("cpu_ms", "scripts_ms", "scripts", "commands")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis")
        server.start()
        try:
            bench = Bench(server, arguments.jobs)
            line = json.dumps(report(bench, Path(folder) / "objects", arguments.batches))
        finally:
            server.stop()
    print(line)
    if arguments.out:
        with arguments.out.open("a") as file:
            file.write(line + "\n")


def report(bench: Bench, folder: Path, num_batches: int) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    return {
        "bench": "scripts",
        "jobs": bench.num_jobs,
        "one_job_batch": one_job_batches(bench, folder, num_batches),
        "calls": long_calls(bench),
        "commit": commit.strip(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "redis": bench.client.info("server")["redis_version"],
        "versions": {"python": platform.python_version()},
    }


if __name__ == "__main__":
    main()
