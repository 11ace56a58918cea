"""Row 22 of the fault table: a random run of half a minute; `make chaos` runs one of any length."""

from __future__ import annotations

import os
import secrets

import pytest

from tests.chaos.random_chaos import run

#: Seconds of faults, and what draws them: said by whoever wants a run again.
SECONDS, SEED = float(os.environ.get("CHAOS_SECONDS", "30")), os.environ.get("CHAOS_SEED")


@pytest.mark.timeout(600)
def test_22_random_chaos_leaves_no_violation() -> None:
    """Guards all of it. The seed and what happened are shown at the end of the test run: `python -m
    tests.chaos.random_chaos --seed N` repeats the faults."""
    outcome = run(SECONDS, int(SEED) if SEED else secrets.randbelow(2**31))

    assert outcome.violations == []
