"""What Python and the scripts must say alike: constants are handed over, and texts are members of enums."""

from __future__ import annotations

import re
from importlib.resources import files

from sigmafarm_common.states import BatchPhase, Outcome
from sigmafarm_common.store.redis.scripts import LISTS, NUMBERS, STATE_SETS, constants, script_texts
from sigmafarm_common.store.values import DropReason, EventKind

LUA = files("sigmafarm_common.store") / "lua"
TEXT = "\n".join(file.read_text(encoding="utf-8") for file in LUA.iterdir() if file.name.endswith(".lua"))


def found(pattern: str) -> set[str]:
    """The texts in quotes that stand where a pattern says TEXT."""
    return set(re.findall(pattern.replace("TEXT", "'([a-z._]+)'"), TEXT))


def test_every_event_that_a_script_tells_is_a_kind_and_every_kind_is_told():
    told = found(r"emit\(TEXT") | found(r"emit\([^)]* and TEXT or ") | found(r"emit\([^)]* or TEXT,")

    assert told == set(EventKind)


def test_phases_and_outcomes_and_reasons_of_scripts_are_those_of_python():
    assert found(r"'HSET', batch_key\(\w+\), 'phase', TEXT") | found(r"phase [=~]= TEXT") == set(BatchPhase)
    assert found(r"remember\([^,]*, [^,]*, TEXT") == set(Outcome) - {Outcome.PAUSED}, "that one comes as an argument"
    (reasons,) = re.findall(r"local function drop_reason\(.*?\nend", TEXT, re.DOTALL)
    assert set(re.findall(r"(?:return|and|or) '(\w+)'", reasons)) == set(DropReason)


def test_reasons_to_drop_a_try_are_outcomes_of_it():
    assert {Outcome(reason) for reason in DropReason} <= set(Outcome)


def test_what_python_hands_over_is_used_and_not_made_in_a_script():
    for name in (*NUMBERS, *STATE_SETS, *LISTS):
        assert re.search(rf"\b{name}\b", TEXT), f"no script uses {name}"
        assert not re.search(rf"local [^=\n]*\b{name}\b[^=\n]*=", TEXT), f"a script makes its own {name}"


def test_a_script_gets_the_constants_that_it_names_and_no_others():
    texts = script_texts()

    assert "local PACE_MS = 10000" in texts["finish"]
    assert "local IS_OPEN = {queued = true, running = true}" in texts["finish"]
    assert "PACE_MS" not in texts["lead"]
    assert len(constants()) == len(NUMBERS) + len(STATE_SETS) + len(LISTS)
