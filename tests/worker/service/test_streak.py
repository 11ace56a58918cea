"""Which failures speak against a worker, and how many of them it takes."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import EngineStopped, InvalidSettings, OutOfDeviceMemory, RenderError, TrajectoryDiverged
from sigmafarm_worker.service.streak import Streak


@pytest.fixture
def broken() -> list[str]:
    return []


@pytest.fixture
def streak(broken: list[str]) -> Streak:
    return Streak(3, broken.append)


def test_failures_of_different_jobs_in_a_row_are_told_once_with_the_last_reason(streak: Streak, broken: list[str]):
    streak.note_failure("a", OutOfDeviceMemory("no memory"))
    streak.note_failure("b", EngineStopped("stopped"))
    assert broken == []

    streak.note_failure("c", RenderError("unforeseen"))
    streak.note_failure("d", RenderError("unforeseen too"))

    assert broken == ["3 jobs in a row failed here; last: unforeseen"]


def test_a_picture_in_between_ends_the_row(streak: Streak, broken: list[str]):
    for job in "ab":
        streak.note_failure(job, RenderError("x"))
    streak.note_success()

    for job in "cd":
        streak.note_failure(job, RenderError("x"))

    assert broken == []


def test_what_is_the_jobs_own_fault_does_not_count(streak: Streak, broken: list[str]):
    for n in range(9):
        streak.note_failure(f"job {n}", TrajectoryDiverged("too stiff"))
        streak.note_failure(f"other {n}", InvalidSettings("no"))

    assert broken == []


def test_one_job_tried_again_and_one_pass_of_many_jobs_count_once(streak: Streak, broken: list[str]):
    failed_pass = RenderError("the pass failed")
    for n in range(9):
        streak.note_failure(f"job {n}", failed_pass)
        streak.note_failure("stubborn", RenderError("again"))

    assert broken == []
