"""A worker whose every pass fails: it stops taking jobs, says why, ends, and is replaced; no job is lost by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sigmafarm import Farm
from sigmafarm_common.states import JobState
from tests.farm_harness import FarmHarness, until

pytestmark = pytest.mark.slow

#: Python reads this file at its start. The first worker process breaks once it has warmed up; its successor is whole.
SABOTAGE = """
import pathlib, sys
mark = pathlib.Path(__file__).with_name("broken")
if "--worker-id" in sys.orig_argv and not mark.exists():
    mark.touch()
    from sigmafarm_worker import unet_pass
    draw, num_passes = unet_pass.EagerPass.__call__, 0
    def fail(self, *args):
        global num_passes
        num_passes += 1
        if num_passes > 4:
            raise RuntimeError("the device lost its mind")
        return draw(self, *args)
    unet_pass.EagerPass.__call__ = fail
"""


def test_failing_worker_hands_back_says_why_and_is_replaced(
    make_farm: Callable[..., FarmHarness], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sabotage"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    farm = make_farm(max_images=2, lookahead=1, max_failures=2)
    with Farm(farm.config) as producer:
        batch_id = producer.submit([f"prompt {n}" for n in range(12)]).id

    farm.start_worker()
    farm.wait_for_batch(batch_id)

    jobs = farm.store.jobs(batch_id)
    spent = [j for j in jobs if j.state is JobState.FAILED]
    assert all(j.attempts == 1 and "lost its mind" in j.error for j in spent)
    assert 2 <= len(spent) <= 4, "two passes failed, of two jobs each at most"
    assert farm.states(batch_id) == {JobState.SUCCEEDED: 12 - len(spent), JobState.FAILED: len(spent)}
    assert {j.losses for j in jobs} == {0}
    until(lambda: "exit_code=4" in farm.logs().replace(" ", ""), "the supervisor has noted its end", 10)
    assert "worker keeps failing" in farm.logs()
