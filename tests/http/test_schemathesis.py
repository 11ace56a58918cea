"""schemathesis against a live server with a farm behind it: no 500, and no answer that its description does not have.

Deeper, by hand: `ST_EXAMPLES=200 .venv/bin/python -m pytest tests/http/test_schemathesis.py`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S

#: Examples of one operation. The time limit ends the run before that where the machine is busy.
NUM_EXAMPLES = int(os.environ.get("ST_EXAMPLES", "4"))
SEED = 20261121
ROOT = Path(__file__).parents[2]


@pytest.fixture
def drawing(farm: Farm, hand: FarmHand) -> Iterator[Farm]:
    """A farm with batches in every state, and a worker that goes on drawing."""
    farm.submit(["a", "fail b"])
    hand.work_all()
    farm.store.pause_batch(farm.submit(["c"] * 3).id)
    stop = threading.Event()
    thread = threading.Thread(target=_draw, args=(hand, stop))
    thread.start()
    yield farm
    stop.set()
    thread.join()


def _draw(hand: FarmHand, stop: threading.Event) -> None:
    while not stop.wait(0.02):
        with contextlib.suppress(AssertionError):  # what it draws may be cancelled under it
            hand.work()


@pytest.mark.slow
def test_no_request_that_can_be_made_up_breaks_the_api(server: HttpServer, drawing: Farm, tmp_path: Path):
    command = [str(Path(sys.executable).parent / "st"), "run", f"{server.url}/openapi.json"]
    bounds = ["--max-examples", str(NUM_EXAMPLES), "--seed", str(SEED), "--phases", "coverage,fuzzing"]
    # A stream of events has no end; what fits its schema may still name a model that this farm does not have.
    left_out = ["--exclude-path", "/v1/events", "--exclude-checks", "positive_data_acceptance"]
    looks = ["--request-timeout", "10", "--no-shrink", "--no-color", "--continue-on-failure", "--warnings", "off"]

    done = subprocess.run(
        [*command, *bounds, *left_out, *looks],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.http.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Tested: " in done.stdout
