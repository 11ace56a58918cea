"""The table of moves: which states it joins, and that the README's diagram is this table."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from sigmafarm_common.states import TRANSITIONS, JobState, diagram

README = Path(__file__).parents[2] / "common" / "README.md"


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
