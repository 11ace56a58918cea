"""The table of moves: what it allows, what it says of the rest, and that the README's diagram is this table."""

from __future__ import annotations

import itertools
from importlib.resources import files
from pathlib import Path

import pytest

from sigmafarm_common.errors import IllegalTransition
from sigmafarm_common.states import TRANSITIONS, JobState, check_transition, diagram

README = Path(__file__).parents[2] / "common" / "README.md"
ALLOWED = {(t.source, t.target) for t in TRANSITIONS}
REFUSED = sorted(set(itertools.product(JobState, JobState)) - ALLOWED)


@pytest.mark.parametrize(("source", "target"), sorted(ALLOWED))
def test_every_move_of_the_table_is_allowed(source: JobState, target: JobState):
    check_transition(source, target)


@pytest.mark.parametrize(("source", "target"), REFUSED)
def test_every_other_move_is_refused_with_both_states_named(source: JobState, target: JobState):
    with pytest.raises(IllegalTransition, match=f"a {source} job cannot become {target}: from {source} it can become"):
        check_transition(source, target)


def test_a_refusal_names_the_moves_that_exist():
    with pytest.raises(IllegalTransition, match=r"from queued it can become cancelled, running$"):
        check_transition(JobState.QUEUED, JobState.FAILED)
    with pytest.raises(IllegalTransition, match=r"from succeeded it can become nothing$") as caught:
        check_transition(JobState.SUCCEEDED, JobState.QUEUED)
    assert (caught.value.http_status, caught.value.exit_code, caught.value.retryable) == (409, 2, False)


def test_terminal_states_are_left_by_retry_only():
    assert [s for s in JobState if s.is_terminal] == [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
    assert {t.script for t in TRANSITIONS if t.source.is_terminal} == {"retry"}


def test_every_state_can_be_reached_and_every_open_one_can_be_left():
    assert {t.target for t in TRANSITIONS} == set(JobState)
    assert {t.source for t in TRANSITIONS} >= {JobState.QUEUED, JobState.RUNNING}


def test_every_move_names_a_script_that_exists():
    scripts = [f.name for f in (files("sigmafarm_common.store") / "lua").iterdir()]

    assert all(any(name.startswith(t.script) for name in scripts) for t in TRANSITIONS)


def test_the_readme_shows_this_diagram():
    section = README.read_text(encoding="utf-8").split("<!-- states -->")[1].split("<!-- /states -->")[0]

    assert section.strip() == f"```mermaid\n{diagram()}\n```", "run `python -m sigmafarm_common.states` and paste it"
