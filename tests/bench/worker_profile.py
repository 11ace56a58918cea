"""Where a worker's time goes while it draws a backlog: samples of its threads, by part.

    pip install py-spy
    python -m tests.bench.worker_profile [--load mixed] [--seconds 30] [--out tests/bench/results/worker_profile.jsonl]

A real Redis, a folder for pictures, the bundled model, the worker as it is installed, one thread of torch. Counted are
samples, a hundred a second, of threads that were at work, and not those that waited. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import psutil

from sigmafarm import Farm
from sigmafarm_common.config import Config
from tests.bench.about import about, put_down
from tests.bench.race.loads import LOADS
from tests.bench.worker_start_bench import environment, pause
from tests.limits import until
from tests.redis_server import RedisServer

#: Parts, each with what a frame of its says; of a stack, the first part that one of its frames is of.
PARTS = {
    "UNet passes": ("unet_pass.py",),
    "VAE decoding": ("retiring.py",),
    "text encoding": ("prompts.py", "weighted_text.py"),
    "samplers, rows, admission": ("stepping.py", "lane.py", "engine/thread.py"),
    "PNG and digests": ("images.py", "PIL/", "hashlib"),
    "pictures to the store": ("objects/",),
    "records (Redis)": ("redis",),
    "Celery": ("celery/", "kombu/"),
}
#: Where threads wait: the innermost frames of stacks that do not count.
WAITING = (
    "Condition.wait ",
    "_epoll.poll ",
    "call_on.<locals>.listen ",
    "_worker (concurrent",
    "read_from_socket ",
)
#: Seconds from the submit until the engine is full.
SETTLE_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", choices=list(LOADS), default="mixed")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--stacks", type=Path, help="keep the folded stacks there, for a flame graph")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tool = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if tool is None:
        sys.exit("py-spy is not here: pip install py-spy")
    with tempfile.TemporaryDirectory() as name:
        stacks = sampled(tool, Path(name), arguments.load, arguments.seconds)
    if arguments.stacks:
        arguments.stacks.write_text("\n".join(stacks))
    counts = by_part(stacks)
    total = sum(counts.values())
    shares = {part: round(num / total, 4) for part, num in counts.most_common()}
    print(*(f"{part:30} {100 * share:5.1f} %" for part, share in shares.items()), sep="\n")
    put_down(
        {"bench": "worker_profile", "load": arguments.load, "num_samples": total, "shares": shares, **about("torch")},
        arguments.out,
    )


def sampled(tool: str, folder: Path, load: str, seconds: int) -> list[str]:
    """Return the stacks of a worker that draws, as py-spy folds them."""
    server = RedisServer(folder / "redis", has_aof=True, options=("--appendfsync", "everysec"))
    server.start()
    config = Config.load(redis_url=server.url, objects_url=f"{folder}/objects", data_dir=folder / "data", num_threads=1)
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "sigmafarm_worker"], env=environment(config), stderr=subprocess.DEVNULL
    )
    try:
        farm = Farm(config)
        until(lambda: pause() or bool(farm.workers()), "the worker is ready")
        (model,) = farm.models()
        farm.submit([asked.request() for asked in LOADS[load](100 * seconds, int(model.defaults["height"]))])
        time.sleep(SETTLE_S)
        worker = psutil.Process(supervisor.pid).children()[0]
        out = folder / "stacks.txt"
        said = ["record", "--pid", str(worker.pid), "--duration", str(seconds), "--format", "raw", "--threads"]
        subprocess.run([tool, *said, "--output", str(out)], check=True, capture_output=True)
        return out.read_text().splitlines()
    finally:
        supervisor.kill()
        supervisor.wait()
        server.stop()


def by_part(stacks: Iterable[str]) -> Counter[str]:
    """Return the samples of each part."""
    counts: Counter[str] = Counter()
    for stack in stacks:
        frames, _, num = stack.rpartition(" ")
        if frames.rpartition(";")[2].startswith(WAITING):
            continue
        part = next((part for part, words in PARTS.items() if any(word in frames for word in words)), "the rest")
        counts[part] += int(num)
    return counts


if __name__ == "__main__":
    main()
