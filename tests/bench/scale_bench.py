"""A farm of 1,000 workers and a million queued jobs in 10,000 batches, on one real Redis: what each of its calls costs.

    python tests/bench/scale_bench.py [--jobs 1000000] [--batches 10000] [--workers 1000] [--out FILE.jsonl]

Workers are records, not processes: each has 16 slots and 4 jobs ahead, and every call that a real one would make is
made by the store's own client. Nothing is drawn. Counted is what the server is asked for (scripts' inner calls among
them), what it sends and receives, its processor time, and how long the caller waits. From that: how
many GPUs one Redis carries at a given rate of pictures. Prints one JSON line; a million jobs need about 2 GB and some
minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm.search import JobFilter, find_jobs, find_jobs_of_farm  # noqa: E402 - after the path
from sigmafarm_common.config import Config  # noqa: E402
from sigmafarm_common.keeper import Keeper  # noqa: E402
from sigmafarm_common.records import WorkerInfo  # noqa: E402
from sigmafarm_common.settings import RenderRequest  # noqa: E402
from sigmafarm_common.states import JobState  # noqa: E402
from sigmafarm_common.store.redis_store import RedisStore  # noqa: E402
from sigmafarm_common.store.values import Beat, Claim  # noqa: E402
from tests.bench.about import about  # noqa: E402
from tests.common.store_contract import output, worker  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

SLOTS, LOOKAHEAD = 16, 4
NUM_OWNERS = 20
PROMPT = "a watercolour of a lighthouse at dusk, long shadows, number "
#: Jobs whose whole life is counted, and tries of each look.
NUM_LIVES, NUM_LOOKS = 2000, 5
#: Pictures that end between two dispatches: of a thousand workers, 4 a second each, in the 10 ms between two bells.
ENDS_PER_DISPATCH = 40
#: Of the jobs, those of one great batch that is steered as a whole.
STEERED = 100_000
#: Renewals that a worker makes in a second: one every quarter of a lease of 15 s.
RENEWALS_PER_S = 4 / 15
#: Pictures a second of a fast GPU (estimated).
PICTURES_PER_GPU_S = 4.0


class Scale:
    """The farm, and a count of what is asked of its server."""

    def __init__(self, server: RedisServer, args: argparse.Namespace):
        self.args, self.client = args, server.client()
        self.config = Config(redis_url=server.url, data_dir=server.folder)
        self.store = RedisStore(self.config)
        self.workers = [worker(f"w{n}", slots=SLOTS, lookahead=LOOKAHEAD) for n in range(args.workers)]

    # Filling it

    def fill(self) -> dict[str, Any]:
        """Submit all jobs."""
        args, each = self.args, (self.args.jobs - self.args.steered) // self.args.batches
        began_s, before = time.perf_counter(), self._memory()
        for number in range(args.batches):
            self._submit(each, owner=f"owner{number % NUM_OWNERS}")
        self.great = self._submit(args.steered, owner="great") if args.steered else ""
        num = each * args.batches + args.steered
        return {
            "jobs": num,
            "jobs_per_s": round(num / (time.perf_counter() - began_s)),
            "bytes_a_job": round((self._memory() - before) / num),
            "memory_mb": round(self._memory() / 2**20),
        }

    def _submit(self, num: int, owner: str) -> str:
        ticket = self.store.begin_batch(name="scale", owner=owner, priority=0, defaults={})
        asked = {"num_inference_steps": 50, "height": 512, "width": 512, "model": "m"}
        for at in range(0, num, 1000):
            rows = [RenderRequest(prompt=f"{PROMPT}{n}", seed=n, **asked) for n in range(at, min(num, at + 1000))]
            self.store.add_rows(ticket.batch_id, [row.resolved() for row in rows])
        return self.store.seal_batch(ticket.batch_id).id

    def _memory(self) -> int:
        return self.client.info("memory")["used_memory"]

    # What workers and the keeper ask

    def renewals(self, beats_of: dict[str, list[Beat]]) -> dict[str, Any]:
        """Every worker renews once, with the jobs that it holds."""
        return self.counted(
            lambda: [self.store.renew(w, beats_of.get(w.id, [])) for w in self.workers], len(self.workers)
        )

    def rounds(self) -> dict[str, Any]:
        """A keeper's rounds: of workers that are full, so that nothing is dispatched, which is what most are."""
        keeper = Keeper(self.config, self.store, lambda _jobs: None)
        keeper.run_once()
        return self.counted(lambda: [keeper.run_once() for _ in range(20)], 20)

    def dispatched(self) -> tuple[list[str], dict[str, Any]]:
        """Fill all workers from nothing."""
        found: list[str] = []

        def all_rounds() -> None:
            while chosen := self.store.dispatch():
                found.extend(each.job_id for each in chosen)

        figures = self.counted(all_rounds, 1)
        return found, {**figures, "jobs": len(found), "jobs_per_s": round(len(found) / figures["seconds"])}

    def claims(self, jobs: Sequence[str]) -> tuple[dict[str, list[Claim]], dict[str, Any]]:
        held: dict[str, list[Claim]] = {}
        times: list[float] = []

        def all_claims() -> None:
            for n, job in enumerate(jobs):
                name = self.workers[n % len(self.workers)].id
                began_s = time.perf_counter()
                claim = self.store.claim(job, name)
                times.append(time.perf_counter() - began_s)
                assert isinstance(claim, Claim)
                held.setdefault(name, []).append(claim)

        figures = self.counted(all_claims, len(jobs))
        return held, {**figures, **waits(times)}

    def lives(self, held: dict[str, list[Claim]]) -> dict[str, Any]:
        """Whole lives of jobs on a full farm: one is finished, another dispatched and claimed, with the renewals that
        its worker makes meanwhile."""
        claims = [claim for each in held.values() for claim in each][:NUM_LIVES]
        times: dict[str, list[float]] = {"finish": [], "dispatch": [], "claim": [], "renew": []}

        def timed(name: str, call: Callable[[], Any]) -> Any:
            began_s = time.perf_counter()
            answer = call()
            times[name].append(time.perf_counter() - began_s)
            return answer

        def live() -> None:
            for first in range(0, len(claims), ENDS_PER_DISPATCH):
                holders = list[WorkerInfo]()
                for n, claim in enumerate(claims[first : first + ENDS_PER_DISPATCH], start=first):
                    made = output(claim)
                    assert timed("finish", lambda c=claim, m=made: self.store.finish(c.job_id, c.fence, m))
                    holders.append(self.workers[n % len(self.workers)])
                    if n % 4 == 3:  # a GPU's 4 pictures are a second, and that is about a renewal
                        timed("renew", lambda w=holders[-1]: self.store.renew(w, self._beats(held[w.id])))
                for chosen, holder in zip(timed("dispatch", self.store.dispatch), holders, strict=False):
                    timed("claim", lambda job=chosen.job_id, w=holder: self.store.claim(job, w.id))

        figures = self.counted(live, len(claims))
        return {**figures, "calls": {name: waits(each) for name, each in times.items() if each}}

    @staticmethod
    def _beats(claims: Sequence[Claim]) -> list[Beat]:
        return [Beat(each.job_id, each.fence, 3, True) for each in claims]

    # What people ask

    def looks(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Lists and searches."""
        store = self.store
        asks: dict[str, Callable[[], object]] = {
            "newest 50 batches": lambda: store.batches(limit=50),
            "newest 50 of an owner": lambda: store.batches(owner="owner3", limit=50),
            "queues": store.queues,
            "workers": store.workers,
            "first 100 jobs of a great batch": lambda: store.jobs(self.great, limit=100),
            "search a great batch": lambda: find_jobs(store, store.batch(self.great), JobFilter(search="number 777")),
            "search the farm": lambda: find_jobs_of_farm(store, JobFilter(search="number 77")),
        }
        for name, ask in asks.items():
            yield name, self.counted(lambda ask=ask: [ask() for _ in range(NUM_LOOKS)], NUM_LOOKS)

    def steering(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Pause, resume, reprioritise and cancel the great batch, and queue it again."""
        store, great = self.store, self.great
        calls: dict[str, Callable[[], object]] = {
            "pause": lambda: store.pause_batch(great),
            "resume": lambda: store.resume_batch(great),
            "set_priority": lambda: store.set_priority(great, 7),
            "cancel": lambda: store.cancel_batch(great),
            "retry": lambda: store.retry_batch(great, states=[JobState.CANCELLED]),
        }
        for name, call in calls.items():
            yield name, self.counted(call, 1)

    # Counting

    def counted(self, call: Callable[[], object], num: int) -> dict[str, Any]:
        """Return what a call costs, for each of `num`: the caller's time, the server's processor time, commands with
        those inside of scripts, bytes in and out, and the longest that one script held the server."""
        self.client.config_resetstat()
        self.client.config_set("slowlog-log-slower-than", 500)
        self.client.slowlog_reset()
        cpu_s, began_s = self._cpu_s(), time.perf_counter()
        call()
        seconds, cpu_s = time.perf_counter() - began_s, self._cpu_s() - cpu_s
        stats = self.client.info("commandstats")
        commands = sum(
            said["calls"]
            for name, said in stats.items()
            if not name.startswith(("cmdstat_config", "cmdstat_slowlog", "cmdstat_info"))
        )
        traffic = self.client.info("stats")
        held = [each["duration"] for each in self.client.slowlog_get(128) if "EVAL" in str(each["command"])]
        return {
            "seconds": round(seconds, 4),
            "ms_each": round(1000 * seconds / num, 3),
            "server_ms_each": round(1000 * cpu_s / num, 3),
            "commands_each": round(commands / num, 1),
            "bytes_in_each": round(traffic["total_net_input_bytes"] / num),
            "bytes_out_each": round(traffic["total_net_output_bytes"] / num),
            "longest_script_ms": round(max(held, default=0) / 1000, 2),
        }

    def _cpu_s(self) -> float:
        said = self.client.info("cpu")
        return said["used_cpu_user"] + said["used_cpu_sys"]


def waits(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 99
    return {"p50_ms": round(1000 * cuts[49], 3), "p99_ms": round(1000 * cuts[98], 3)}


def carried(life: dict[str, Any], renewal: dict[str, Any], round_: dict[str, Any]) -> dict[str, Any]:
    """Return how many GPUs keep a Redis half busy, at so many pictures a second each: a life a picture, a renewal every
    quarter of a lease, four rounds of the keeper a second."""
    per_gpu_ms = PICTURES_PER_GPU_S * life["server_ms_each"] + RENEWALS_PER_S * renewal["server_ms_each"]
    return {
        "pictures_per_gpu_s": PICTURES_PER_GPU_S,
        "gpus_at_half_a_core": int((500 - 4 * round_["server_ms_each"]) / per_gpu_ms),
    }


def measured(server: RedisServer, args: argparse.Namespace) -> dict[str, Any]:
    scale = Scale(server, args)
    found: dict[str, Any] = {"bench": "scale", "workers": args.workers, "batches": args.batches, "fill": scale.fill()}
    found["renew idle"] = scale.renewals({})
    jobs, found["dispatch all"] = scale.dispatched()
    held, found["claim all"] = scale.claims(jobs)
    beats = {name: scale._beats(claims) for name, claims in held.items()}
    found["renew full"] = scale.renewals(beats)
    found["round"] = scale.rounds()
    found["life"] = scale.lives(held)
    found["looks"] = dict(scale.looks())
    found["steering of"] = args.steered
    found["steering"] = dict(scale.steering()) if args.steered else {}
    found["carries"] = carried(found["life"], found["renew full"], found["round"])
    return {**found, **about("redis"), "server": scale.client.info("server")["redis_version"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--steered", type=int, default=STEERED)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis", has_aof=True, options=("--appendfsync", "everysec"))
        server.start()
        try:
            line = json.dumps(measured(server, args))
        finally:
            server.stop()
    print(line)
    if args.out:
        with args.out.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
