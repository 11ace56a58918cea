"""How many pictures a step draws together when jobs of several sizes wait: dispatch in runs of one size, and in the
order of rows, with the farm's own policies (dispatch of the model store, lanes of the engine), no time and no tensors.

    python tests/bench/size_policy.py [--jobs 2000] [--out tests/bench/results/size_policy.jsonl]

One worker of 16 slots and 4 ahead. Steps are 20 to 50, sizes are drawn at random. "overtaken" is the most jobs of later
rows that were claimed before a row. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm_common.store.values import SIZE_WINDOW, Claim  # noqa: E402 - after the path
from sigmafarm_worker.engine.batching import Batching  # noqa: E402
from tests.common.store_contract import CONFIG, FakeMs, output, request, submit, worker  # noqa: E402
from tests.store_model import keeping  # noqa: E402
from tests.store_model.store_model import StoreModel  # noqa: E402

SLOTS, LOOKAHEAD = 16, 4
NUM_SIZES = (1, 2, 4, 8, 20)
SEED = 20261129


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {n: {"runs": drawn(n, arguments.jobs, SIZE_WINDOW), "rows": drawn(n, arguments.jobs, 0)} for n in NUM_SIZES}
    print("sizes  pictures a step: in runs  by rows  ratio   overtaken in runs")
    for n, each in found.items():
        runs, rows = each["runs"]["pictures_a_step"], each["rows"]["pictures_a_step"]
        print(f"{n:5}  {runs:24.2f}  {rows:7.2f}  {runs / rows:5.2f}   {each['runs']['overtaken']:17}")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    said = {"bench": "size_policy", "jobs": arguments.jobs, "slots": SLOTS, "lookahead": LOOKAHEAD, "seed": SEED}
    line = json.dumps({**said, "sizes": found, "commit": commit.strip()})
    print(line)
    if arguments.out:
        with arguments.out.open("a") as file:
            file.write(line + "\n")


def drawn(num_sizes: int, num_jobs: int, window: int) -> dict[str, Any]:
    """Draw a batch of so many sizes; return the pictures of a step and by how many jobs a row was overtaken."""
    chance = random.Random(SEED)
    sides = [64 * (2 + n) for n in range(num_sizes)]
    asked = [request(steps=chance.randint(20, 50), side=chance.choice(sides)) for _ in range(num_jobs)]
    with mock.patch.object(keeping, "SIZE_WINDOW", window):
        store = StoreModel(CONFIG.replaced(event_limit=10), FakeMs())
        submit(store, requests=asked)
        return Worker(store).draw_all(num_jobs)


class Worker:
    """A worker's desk and its engine's lanes."""

    def __init__(self, store: StoreModel):
        self.store = store
        self.lanes: Batching[int, Claim] = Batching(lambda _side: SLOTS)
        self.left: dict[str, int] = {}
        self.order: list[int] = []

    def draw_all(self, num_jobs: int) -> dict[str, Any]:
        """Draw until all is drawn."""
        num_steps = num_pictures = num_done = 0
        while num_done < num_jobs:
            self._take()
            side = self.lanes.next_lane()
            assert side is not None
            self.lanes.admit(side)
            inside = self.lanes.inside(side)
            num_steps, num_pictures = num_steps + 1, num_pictures + len(inside)
            for claim in inside:
                self.left[claim.job_id] -= 1
                if not self.left[claim.job_id]:
                    self.lanes.remove(side, [claim])
                    del self.left[claim.job_id]
                    assert self.store.finish(claim.job_id, claim.fence, output(claim))
                    num_done += 1
        return {
            "pictures_a_step": round(num_pictures / num_steps, 2),
            "steps": num_steps,
            "overtaken": self._overtaken(),
        }

    def _take(self) -> None:
        if len(self.left) == SLOTS + LOOKAHEAD:
            return
        self.store.renew(worker(slots=SLOTS, lookahead=LOOKAHEAD), [])
        for chosen in self.store.dispatch():
            claim = self.store.claim(chosen.job_id, "w1")
            assert isinstance(claim, Claim)
            self.left[claim.job_id] = claim.request.num_inference_steps or 0
            self.order.append(int(claim.job_id[-6:]))
            self.lanes.add(claim.request.height or 0, claim)

    def _overtaken(self) -> int:
        """Return the most later rows that were claimed before a row."""
        return max(sum(earlier > row for earlier in self.order[:at]) for at, row in enumerate(self.order))


if __name__ == "__main__":
    main()
