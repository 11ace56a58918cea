"""Row 22 of the fault table: a short random run; `make chaos` runs a longer one."""

from __future__ import annotations

import secrets

import pytest

from tests.chaos.random_chaos import run


@pytest.mark.timeout(600)
def test_22_random_chaos_leaves_no_violation() -> None:
    """Guards all of it. The seed is printed: python -m tests.chaos.random_chaos --seed N repeats the faults."""
    assert run(20.0, secrets.randbelow(2**31)) == 0
