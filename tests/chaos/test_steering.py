"""Rows 18 to 20 of the fault table: cancel, urgency, fairness, and a clock that is wrong."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sigmafarm import Farm
from sigmafarm_common.config import Config
from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import until
from tests.chaos.conftest import MakeFarm

#: Jobs of the large batches.
MANY = 10_000


def test_18_cancel_of_ten_thousand_queued_jobs_is_one_call(make_farm: MakeFarm) -> None:
    """Guards cancel_batch over the keeper's rest. Without going on (take back) the jobs beyond one call's limit stay
    queued."""
    farm = make_farm()
    api = farm.start_api()
    batch_id = farm.submit(MANY)

    answer = api.cancel(batch_id)

    assert answer.json()["counts"]["cancelled"] == MANY, answer.text
    assert farm.states(batch_id) == {JobState.CANCELLED: MANY}
    farm.start_workers(1)
    farm.end_and_check(batch_id, all_succeed=False)


def test_18_cancelled_running_jobs_leave_the_engine(make_farm: MakeFarm) -> None:
    """Guards the drop that the renewer passes on. Without it the worker draws what nobody wants to the end."""
    farm = make_farm(step_s=0.02)
    farm.start_workers(1)
    api = farm.start_api()
    batch_id = farm.submit(4, num_inference_steps=1000)
    until(lambda: [w.num_jobs for w in farm.workers()] == [4], "the worker holds all four")

    assert api.cancel(batch_id).status_code == 200

    assert farm.states(batch_id) == {JobState.CANCELLED: 4}
    until(lambda: all(w.num_jobs == 0 for w in farm.workers()), "the worker holds nothing", 10)
    farm.end_and_check(batch_id, all_succeed=False)


def test_18_cancel_that_races_with_finishes_leaves_one_terminal_state(make_farm: MakeFarm) -> None:
    """Guards the check of the state in finish and cancel. Without it a cancelled job becomes succeeded."""
    farm = make_farm(step_s=0.001)
    farm.start_workers(1)
    batches = [farm.submit(24, num_inference_steps=30) for _ in range(5)]

    for batch_id in batches:
        until(lambda b=batch_id: farm.store.batch(b).counts.succeeded >= 4, "some are done")
        for job in farm.jobs(batch_id)[::2]:
            farm.store.cancel_job(job.id)
        farm.store.cancel_batch(batch_id)

    farm.end_and_check(*batches, all_succeed=False)
    for batch_id in batches:
        assert set(farm.states(batch_id)) <= {JobState.SUCCEEDED, JobState.CANCELLED}


def test_19_urgent_job_overtakes_ten_thousand(make_farm: MakeFarm) -> None:
    """Guards the queue's order by priority, and the small window of calls on their way. Without the order the urgent
    job comes last."""
    farm = make_farm()
    farm.start_workers(1)
    low = farm.submit(MANY, num_inference_steps=20)
    until(lambda: farm.store.batch(low).counts.succeeded >= 8, "the farm is at work")

    urgent = farm.submit(1, priority=50, num_inference_steps=20)
    farm.wait_for_batch(urgent)

    (job,) = farm.jobs(urgent)
    before = [j for j in farm.jobs(low) if job.submitted_ms < j.started_ms < job.started_ms]
    window = (farm.config.max_images or 0) + farm.config.lookahead
    assert len(before) <= 2 * window, "more than the calls on their way and the jobs in hand went before it"
    farm.store.cancel_batch(low)
    farm.end_and_check(urgent)


def test_19_flood_by_one_owner_leaves_the_other_its_share(make_farm: MakeFarm) -> None:
    """Guards the fair share by cost. Without charging, the owner who came first, or whose name does, goes first."""
    farm = make_farm()
    farm.start_workers(1)
    flood = farm.submit(200, num_inference_steps=10)
    until(lambda: farm.store.batch(flood).counts.succeeded >= 8, "the flood is drawn")

    with Farm(Config.load(**{**farm.config.model_dump(), "owner": "other"})) as other:
        late = other.submit([f"late {n}" for n in range(30)], defaults={"num_inference_steps": 10}).id
    farm.wait_for_batch(late)

    starts = sorted(j.started_ms for j in farm.jobs(late))
    meanwhile = sum(starts[0] <= j.started_ms <= starts[-1] for j in farm.jobs(flood))
    window = (farm.config.max_images or 0) + farm.config.lookahead
    assert abs(meanwhile - len(starts)) <= 0.1 * len(starts) + window
    farm.store.cancel_batch(flood)
    farm.end_and_check(flood, late, all_succeed=False)


#: The variables of libfaketime that put a process's clock off, and those of its children.
FAKETIME = ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC")


def clock_off(shift: str) -> dict[str, str]:
    """Return what puts a process's wall clock off; the one that counts durations stays right. The command `faketime`
    only tells: it would stand between us and the process, and pass no signal on."""
    if not shift:
        return {}
    command = ["faketime", "--exclude-monotonic", "-m", "-f", shift, "env"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pairs = (line.partition("=")[::2] for line in said.splitlines())
    return {"FAKETIME_DISABLE_SHM": "1", **{name: value for name, value in pairs if name in FAKETIME}}


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed (Debian: faketime)")
@pytest.mark.parametrize("shifts", [("+1h", ""), ("", "-1h")], ids=["who judges is ahead", "who works is behind"])
def test_20_clock_that_is_an_hour_off_loses_no_lease(make_farm: MakeFarm, shifts: tuple[str, str]) -> None:
    """Guards Redis TIME as the only clock of stored times. Two machines, the first of which leads and judges the
    leases: if each went by its own clock, the second's would have run out when they were given."""
    farm = make_farm()
    right = farm.environment
    for num, shift in enumerate(shifts, start=1):
        farm.environment = {**right, **clock_off(shift)}
        farm.start_worker()
        farm.wait_for_workers(num)

    batch_id = farm.submit(24, num_inference_steps=600)

    farm.end_and_check(batch_id)
    jobs = farm.jobs(batch_id)
    assert {(j.fence, j.losses) for j in jobs} == {(1, 0)}
    assert len({j.worker for j in jobs}) == 2
