"""The same kills for plain Celery and for this farm, in one run: how many jobs are lost, how many are done twice?

`python tests/bench/kill_bench.py --jobs 600 --kills 15 --seed 1`. Two workers of eight slots each draw jobs of 0.3 s;
at random moments a random worker process is killed with SIGKILL and started again at once (ours by its supervisor).
Celery runs twice: with its defaults, and with late acknowledgement and a visibility timeout of 10 s. Prints one JSON
line per contender, appended to tests/bench/results/kills.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm import Farm  # noqa: E402
from sigmafarm_common.states import JobState  # noqa: E402
from tests.farm_harness import FarmHarness  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

#: Slots of each of the two workers, steps of a simulated job and seconds of each: a job takes 0.3 s everywhere.
SLOTS, STEPS, STEP_S = 8, 60, 0.005
#: Seconds after the last kill that a contender gets to finish; Celery's own sweep for lost messages takes up to 100 s.
PATIENCE_S = 150.0
#: Seconds between two kills, at least and at most.
PAUSES_S = (0.8, 2.0)


@dataclass(frozen=True)
class Outcome:
    """What became of the jobs of one contender."""

    contender: str
    num_jobs: int
    num_kills: int
    #: Jobs that were not done when the patience was over, and jobs that were done more than once.
    num_lost: int
    num_doubled: int
    #: From the first submit to the last job done, or to the end of the patience.
    seconds: float


def main() -> None:
    """Run the contenders one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/bench/results/kills.jsonl")
    args = parser.parse_args()
    contenders: dict[str, Callable[[Path, argparse.Namespace], Outcome]] = {
        "celery, defaults": lambda folder, a: run_celery("celery, defaults", folder, a, late=False),
        "celery, late ack, visibility 10 s": lambda folder, a: run_celery(
            "celery, late ack, visibility 10 s", folder, a, late=True
        ),
        "sigmafarm": run_farm,
    }
    for run in contenders.values():
        with tempfile.TemporaryDirectory() as folder:
            record(run(Path(folder), args), args)


def record(outcome: Outcome, args: argparse.Namespace) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    versions = {name: version(name) for name in ("celery", "kombu", "redis")}
    about = {"seed": args.seed, "commit": commit.stdout.strip(), "device": platform.machine(), "versions": versions}
    line = json.dumps({"benchmark": "kills", **asdict(outcome), **about})
    sys.stdout.write(line + "\n")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a") as file:
        file.write(line + "\n")


def kill_at_random(kill: Callable[[random.Random], None], args: argparse.Namespace) -> None:
    """Kill so many workers, with the seed's own pauses."""
    rng = random.Random(args.seed)
    for _ in range(args.kills):
        time.sleep(rng.uniform(*PAUSES_S))
        kill(rng)


def wait_for_all(count: Callable[[], int], wanted: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while count() < wanted and time.monotonic() < end_s:
        time.sleep(0.2)


def run_celery(name: str, folder: Path, args: argparse.Namespace, *, late: bool) -> Outcome:
    """Plain Celery: the broker's messages are all there is."""
    server = RedisServer(folder / "redis", has_aof=True)
    server.start()
    environment = {**os.environ, "PLAIN_CELERY_BROKER": server.url, "PLAIN_CELERY_LATE": str(int(late))}
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.plain_celery", "worker", "-P", "threads"]

    def start() -> subprocess.Popen[bytes]:
        options = ["-c", str(SLOTS), "-l", "CRITICAL", "--without-gossip", "--without-mingle"]
        return subprocess.Popen(
            [*command, *options], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )

    workers = [start(), start()]

    def kill(rng: random.Random) -> None:
        victim = rng.randrange(len(workers))
        workers[victim].kill()
        workers[victim].wait()
        workers[victim] = start()

    client = server.client()
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", SUBMIT, str(args.jobs)], env=environment, cwd=ROOT, check=True)
    kill_at_random(kill, args)
    wait_for_all(lambda: client.hlen("done"), args.jobs)
    seconds = time.monotonic() - began_s
    done = [int(n) for n in client.hgetall("done").values()]
    for worker in workers:
        worker.kill()
        worker.wait()
    server.stop()
    num_doubled = sum(n > 1 for n in done)
    return Outcome(name, args.jobs, args.kills, args.jobs - len(done), num_doubled, round(seconds, 1))


SUBMIT = "import sys; from tests.bench.plain_celery import render; [render.delay(n) for n in range(int(sys.argv[1]))]"


def run_farm(folder: Path, args: argparse.Namespace) -> Outcome:
    """This farm: real supervisors, workers and keeper around a simulated engine whose jobs take as long."""
    server = RedisServer(folder / "redis", has_aof=True)
    server.start()
    models_file = folder / "models.toml"
    models_file.write_text('[models.m]\npath = "m"\ndefaults = { height = 64, width = 64 }\n')
    farm = FarmHarness(
        folder,
        redis_url=server.url,
        models_file=models_file,
        max_images=SLOTS,
    )
    farm.command = [sys.executable, "-m", "tests.chaos.simulated_worker"]
    farm.start = subprocess.Popen  # plain Celery's workers make all their imports too
    farm.environment["CHAOS_STEP_S"] = str(STEP_S)
    farm.start_worker()
    farm.start_worker()

    def kill(rng: random.Random) -> None:
        workers = farm.workers()
        if workers:
            os.kill(rng.choice(workers).pid, signal.SIGKILL)

    began_s = time.monotonic()
    with Farm(farm.config) as producer:
        batch = producer.submit([f"job {n}" for n in range(args.jobs)], defaults={"num_inference_steps": STEPS})
    kill_at_random(kill, args)
    wait_for_all(lambda: farm.store.batch(batch.id).counts.succeeded, args.jobs)
    seconds = time.monotonic() - began_s
    jobs = farm.store.jobs(batch.id, limit=args.jobs)
    finishes = [e.job_id for e in farm.store.events(after="0", limit=100_000) if e.kind == "job.succeeded"]
    farm.close()
    server.stop()
    num_lost = sum(j.state is not JobState.SUCCEEDED for j in jobs)
    return Outcome("sigmafarm", args.jobs, args.kills, num_lost, len(finishes) - len(set(finishes)), round(seconds, 1))


if __name__ == "__main__":
    main()
