"""The cores of one worker among several."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sigmafarm_worker.service.cores import share_of_cores, usable_cores


@pytest.fixture(autouse=True)
def eight_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("said", "cores"),
    [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("9900000 100000", 8), ("", 8), ("x y", 8)],
)
def test_a_containers_limit_counts_as_much_as_the_affinity(tmp_path: Path, said: str, cores: int) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(said)

    assert usable_cores(limit) == cores


def test_a_machine_without_such_limits_gives_what_the_affinity_allows(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none") == 8


def test_workers_share_them_and_each_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigmafarm_worker.service.cores.usable_cores", lambda: 8)

    assert [share_of_cores(n) for n in (0, 1, 3, 8, 20)] == [8, 8, 2, 1, 1]
