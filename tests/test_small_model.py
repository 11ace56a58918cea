"""The farm's protocol, looked at whole: every state that two jobs and two workers can reach, and each rule's use."""

from __future__ import annotations

import pytest

from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Event, EventKind
from tests.small_model.explore import explore
from tests.small_model.farm_state import State, begin
from tests.small_model.protocol import Rules
from tests.small_model.traces import MOVES, impossible


def test_every_promise_holds_in_every_state_of_two_jobs_and_two_workers():
    seen = explore(begin(num_jobs=2, num_workers=2, faults=1, wishes=1))

    assert not seen.wrong, seen.story
    assert seen.num_states > 10_000
    assert seen.num_ends > 10


def test_every_promise_holds_for_one_job_to_which_much_happens():
    seen = explore(begin(num_jobs=1, num_workers=2, faults=2, wishes=2))

    assert not seen.wrong, seen.story


def test_its_moves_are_those_of_the_states_table_which_the_diagram_is_drawn_from():
    made: set[tuple[JobState, JobState]] = set()

    def note(before: State, after: State) -> None:
        made.update((b.state, a.state) for b, a in zip(before.jobs, after.jobs, strict=True) if b.state is not a.state)

    explore(begin(num_jobs=1, num_workers=1, faults=2, wishes=2), on_move=note)

    assert made == MOVES


@pytest.mark.parametrize("rule", Rules._fields)
def test_each_rule_is_needed(rule: str):
    seen = explore(begin(num_jobs=1, num_workers=2, faults=2, wishes=1), Rules(**{rule: False}))

    assert seen.wrong, f"nothing breaks without {rule}"
    print(f"without {rule}: {seen.wrong}: " + "; ".join(seen.story))


def told(*kinds: str) -> list[str]:
    """Return what is impossible in the events of one job, and of its batch."""
    jobs = ["b-000000" if kind.startswith("job") else "" for kind in kinds]
    events = zip(kinds, jobs, strict=True)
    return list(impossible([Event(str(n), EventKind(kind), "b", job) for n, (kind, job) in enumerate(events)]))


@pytest.mark.parametrize(
    "kinds",
    [
        ["job.running", "job.succeeded"],
        ["job.running", "job.queued", "job.running", "job.failed", "job.queued"],
        ["job.running", "batch.cancelled", "batch.retried", "job.running"],
        ["job.running", "batch.cancelled", "job.succeeded"],  # the cancel's pieces had not come to it yet
        ["job.cancelled", "batch.retried", "job.running"],
    ],
)
def test_a_trace_of_the_farm_is_one_of_the_models(kinds: list[str]):
    assert told(*kinds) == []


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["job.succeeded"], "succeeded after it was queued"),
        (["job.running", "job.running"], "running after it was running"),
        (["job.running", "job.succeeded", "job.queued"], "queued after it was succeeded"),
        (["job.running", "job.succeeded", "batch.retried", "job.running"], "running after it was succeeded"),
        (["job.cancelled", "job.running"], "running after it was cancelled"),
    ],
)
def test_a_trace_that_the_model_has_not_is_told(kinds: list[str], said: str):
    assert told(*kinds)[0].endswith(said)
