"""`sigmafarm jobs` by what is searched for: in a batch, in all of them, sorted, and what it says beside the list."""

from __future__ import annotations

import pytest

from sigmafarm import Farm
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(farm, monkeypatch, capsys)


def test_jobs_are_searched_in_a_batch_and_in_all_of_them(run: Run, farm: Farm, hand: FarmHand):
    first = farm.submit([{"prompt": "a zebra", "seed": 7}, {"prompt": "fail zebra", "seed": 8}, "an owl"], owner="ann")
    second = farm.submit([{"prompt": "Zebra crossing", "seed": 7}], owner="ben")
    hand.work_all()

    in_one = run("jobs", first.id, "--search", "seed:7 zebra")
    in_all = run("jobs", "--search", "zebra", "--json")
    bens = run("jobs", "--search", "zebra", "--owner", "ben", "--fields", "id")
    none = run("jobs", "--search", "giraffe")
    wrong = run("jobs", "--search", "sede:7")

    assert f"{first.id}-000000" in in_one.out
    assert "1 picture with seed 7 whose prompt holds 'zebra'" in in_one.err
    assert {job["id"] for job in in_all.json["jobs"]} == {f"{first.id}-{n:06d}" for n in (0, 1)} | {
        f"{second.id}-000000"
    }
    assert in_all.json["found"]["words"] == "3 jobs whose prompt holds 'zebra', 2 of them drawn"
    assert bens.out == f"{second.id}-000000\n"
    assert (none.code, none.out) == (0, "")
    assert "no prompt holds 'giraffe'" in none.err
    assert wrong.code == 2
    assert "--search asks for 'sede:7', but nothing is called 'sede': there are state:, worker:, error:" in wrong.err


def test_the_try_that_succeeded_counts_as_one(run: Run, farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"])
    before = run("jobs", batch.id).out.split("\t")
    hand.work()
    after = run("jobs", batch.id).out.split("\t")

    assert [row[1:4] for row in (before, after)] == [["queued", "0/50", "0"], ["succeeded", "50/50", "1"]]


def test_jobs_are_sorted_and_a_limit_is_told(run: Run, farm: Farm, hand: FarmHand):
    batch = farm.submit([{"prompt": "a", "seed": seed} for seed in (5, 9, 1)])

    by_seed = run("jobs", batch.id, "--sort", "-seed", "--fields", "seed")
    last_row = run("jobs", batch.id, "--sort", "-row", "--limit", 1)

    assert by_seed.out == "9\n5\n1\n"
    assert f"{batch.id}-000002" in last_row.out
    assert "the first 1; --limit 0 lists all" in last_row.err
    refused = run("jobs", "--sort", "seed")
    assert (refused.code, "--sort seed is for one batch: name it" in refused.err) == (2, True)
