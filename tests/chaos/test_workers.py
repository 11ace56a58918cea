"""Rows 1 to 5, 11 and 15 of the fault table: workers and supervisors that die, freeze, stand still, are told to end."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import Hook, is_alive, kill, until
from tests.chaos.conftest import MakeFarm
from tests.limits import LIMIT_S

#: Kills of row 3; the table's 50 by CHAOS_KILLS=50.
NUM_KILLS = int(os.environ.get("CHAOS_KILLS", "15"))


def test_01_jobs_of_a_killed_worker_are_taken_back_before_their_lease_ends(make_farm: MakeFarm) -> None:
    """Guards the supervisor's release of a dead worker's leases (release_worker). Without it the jobs wait for a lease
    of an hour."""
    farm = make_farm(lease_s=3600.0)
    victim, _ = farm.start_workers(2)
    batch_id = farm.submit_and_draw(20, 4, worker=victim.id, num_inference_steps=200)

    kill(victim.pid)

    until(lambda: sum(j.losses for j in farm.jobs(batch_id)) >= 4, "its jobs are taken back")
    farm.end_and_check(batch_id)


def test_01_jobs_of_a_killed_machine_are_taken_back_when_their_lease_ends(make_farm: MakeFarm) -> None:
    """Guards the keeper's take-back of leases that ran out (take_back.lua). Without it the jobs run for ever in
    nobody's hands."""
    farm = make_farm()
    first = farm.start_worker()
    (victim,) = farm.wait_for_workers(1)
    batch_id = farm.submit_and_draw(8, 4, num_inference_steps=200)

    first.kill()
    kill(victim.pid)
    farm.start_worker()

    until(lambda: sum(j.losses for j in farm.jobs(batch_id)) >= 4, "its jobs are taken back")
    farm.end_and_check(batch_id)


def test_02_job_whose_worker_died_between_pop_and_claim_is_dispatched_again(make_farm: MakeFarm) -> None:
    """Guards the second dispatch of calls that nobody claimed (take_back.lua, unclaimed). Without it the job stays
    queued for ever: its message is gone."""
    farm = make_farm()
    farm.start_workers(1)
    farm.arm(Hook.KILL_BEFORE_CLAIM)

    batch_id = farm.submit(3)

    farm.wait_until_taken(Hook.KILL_BEFORE_CLAIM)
    farm.end_and_check(batch_id)
    assert all(j.losses == 0 for j in farm.jobs(batch_id)), "a job that was never claimed was lost by nobody"


@pytest.mark.timeout(600)
def test_03_random_kills_under_load_lose_nothing(make_farm: MakeFarm) -> None:
    """Guards all of it: leases, fences, release, second dispatch. Without the second dispatch of unclaimed calls jobs
    stay queued, as plain Celery loses messages."""
    farm = make_farm(max_losses=1000)
    farm.start_workers(3)
    batch_id = farm.submit(300, num_inference_steps=60)
    chance = random.Random(3)
    killed = set[int]()

    while len(killed) < NUM_KILLS and not farm.store.batch(batch_id).counts.is_done:
        alive = [w for w in farm.workers() if w.pid not in killed]
        if alive:
            victim = chance.choice(alive)
            kill(victim.pid)
            killed.add(victim.pid)
        time.sleep(chance.uniform(0.1, 0.6))  # the load between two kills

    farm.end_and_check(batch_id)
    assert len(killed) > NUM_KILLS // 3, "the jobs were done before the kills"


def test_04_frozen_worker_that_thaws_late_is_refused_and_removes_its_picture(make_farm: MakeFarm) -> None:
    """Guards the fence (load_running in the prelude). Without it the late finish is recorded under a fence that is
    another's, and the picture of the record is not the one of its last claim."""
    farm = make_farm()
    farm.start_workers(2)
    farm.arm(Hook.FREEZE_BEFORE_FINISH)
    batch_id = farm.submit(1, num_inference_steps=300)
    farm.wait_until_taken(Hook.FREEZE_BEFORE_FINISH)
    (job,) = farm.jobs(batch_id)
    frozen = next(w for w in farm.store.workers() if w.id == job.worker)
    until(lambda: farm.jobs(batch_id)[0].fence == 2, "another has the job")

    kill(frozen.pid, signal.SIGCONT)

    until(lambda: "finish refused" in farm.logs(), "the late finish is refused")
    until(lambda: not any("-f1-" in o.key for o in farm.objects.list(f"{batch_id}/")), "its picture is removed")
    farm.end_and_check(batch_id)
    assert farm.jobs(batch_id)[0].image_key.partition("-f")[2].startswith("2-")


def test_05_engine_that_stands_still_loses_its_jobs_and_its_process(make_farm: MakeFarm) -> None:
    """Guards the pulse (no byte while the engine stands still) and the lease that is renewed only for jobs that moved.
    A pulse that always beats leaves the process there; a lease renewed for all leaves its jobs there."""
    farm = make_farm(stall_s=1.0, lease_s=1.5)
    workers = farm.start_workers(2)
    batch_id = farm.submit_and_draw(12, 6, num_inference_steps=200)

    farm.arm(Hook.STAND_STILL)

    mark = farm.hooks / "stand-still.victim"
    until(lambda: mark.exists() and mark.read_text(), "one stands still")
    victim = int(mark.read_text())
    held_by = next(w.id for w in workers if w.pid == victim)
    until(lambda: not is_alive(victim), "the process is ended")
    farm.end_and_check(batch_id)
    lost = [a.error for j in farm.jobs(batch_id) for a in j.history if a.worker == held_by and a.outcome == "lost"]
    assert f"the lease of worker {held_by} ran out" in lost, "its leases lapse before its process is ended"
    assert len(farm.wait_for_workers(2)) == 2


@pytest.mark.parametrize(
    ("drain_s", "num_terms", "num_steps", "finishes"),
    [(LIMIT_S, 1, 100, True), (0.5, 1, 1000, False), (LIMIT_S, 2, 1000, False)],
    ids=["grace longer than the jobs", "grace shorter than the jobs", "told twice"],
)
def test_11_worker_told_to_end_finishes_or_hands_back(
    make_farm: MakeFarm, drain_s: float, num_terms: int, num_steps: int, finishes: bool
) -> None:
    """Guards the drain: finish within the grace, then hand back, at once when told twice. Without hand_back the process
    is ended with jobs in hand, and each of them counts a loss."""
    farm = make_farm(drain_s=drain_s)
    supervisor = farm.start_worker()
    farm.wait_for_workers(1)
    batch_id = farm.submit_and_draw(4, 4, num_inference_steps=num_steps)

    for _ in range(num_terms):
        supervisor.terminate()
        time.sleep(0.3)  # two signals of one kind that are both pending are one
    code = supervisor.wait(LIMIT_S)

    assert code == 0
    jobs = farm.jobs(batch_id)
    assert {j.state for j in jobs} == {JobState.SUCCEEDED if finishes else JobState.QUEUED}
    farm.environment["CHAOS_STEP_S"] = "0.001"
    farm.start_worker()
    farm.end_and_check(batch_id)
    assert [(j.losses, j.attempts) for j in farm.jobs(batch_id)] == [(0, 0)] * 4


def test_15_poison_job_in_a_full_batch_fails_and_no_innocent_does(make_farm: MakeFarm) -> None:
    """Guards the rule that a job which was there at two deaths runs alone. Without it the neighbours of the third death
    reach their limit with the poison."""
    farm = make_farm(max_losses=3)
    farm.start_workers(1)
    prompts = ["innocent"] * 6
    prompts[2] = "poison"

    batch_id = farm.submit(prompts, num_inference_steps=100)

    farm.end_and_check(batch_id, all_succeed=False)
    failed = [j for j in farm.jobs(batch_id) if j.state is JobState.FAILED]
    assert [(j.request.prompt, j.error_code, j.losses) for j in failed] == [("poison", "lost", 3)]
    assert farm.states(batch_id)[JobState.SUCCEEDED] == 5


def test_29_broken_device_costs_no_job_a_try_and_its_worker_is_replaced(make_farm: MakeFarm) -> None:
    """Guards the end of a worker whose engine has ended. Without it the worker goes on claiming, and fails whatever it
    claims: jobs that never were near the fault lose all their tries."""
    farm = make_farm(max_losses=3)
    supervisor = farm.start_worker()
    prompts = ["innocent"] * 12
    prompts[2] = "device"

    batch_id = farm.submit(prompts, num_inference_steps=100)

    farm.end_and_check(batch_id, all_succeed=False)
    failed = [j for j in farm.jobs(batch_id) if j.state is JobState.FAILED]
    assert [(j.request.prompt, j.error_code, j.losses) for j in failed] == [("device", "lost", 3)]
    assert {j.attempts for j in farm.jobs(batch_id) if j.request.prompt == "innocent"} == {0}
    assert supervisor.log.read_text().count("exit_code=6") == 3
