"""The farm's protocol, looked at whole: every state that two jobs and two workers can reach, and each rule's use."""

from __future__ import annotations

import pytest

from tests.small_model.explore import explore
from tests.small_model.farm_state import begin
from tests.small_model.protocol import Rules


def test_every_promise_holds_in_every_state_of_two_jobs_and_two_workers():
    seen = explore(begin(num_jobs=2, num_workers=2, faults=1, wishes=1))

    assert not seen.wrong, seen.story
    assert seen.num_states > 10_000
    assert seen.num_ends > 10


def test_every_promise_holds_for_one_job_to_which_much_happens():
    seen = explore(begin(num_jobs=1, num_workers=2, faults=3, wishes=3))

    assert not seen.wrong, seen.story


@pytest.mark.parametrize("rule", Rules._fields)
def test_each_rule_is_needed(rule: str):
    seen = explore(begin(num_jobs=1, num_workers=2, faults=2, wishes=2), Rules(**{rule: False}))

    assert seen.wrong, f"nothing breaks without {rule}"
    print(f"without {rule}: {seen.wrong}: " + "; ".join(seen.story))
