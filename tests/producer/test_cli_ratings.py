"""`sigmafarm rate`: pictures are rated one by one and by the batch, found again, and told of in the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigmafarm import Farm, FarmBatch, InvalidRequest
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


@pytest.fixture
def batch(farm: Farm, hand: FarmHand) -> FarmBatch:
    """Four jobs: three pictures, and one that failed."""
    batch = farm.submit(["a", "fail b", "c", "d"])
    hand.work_all()
    return batch


def ratings(batch: FarmBatch) -> list[int]:
    return [job.rating for job in batch.jobs()]


def test_pictures_are_rated_one_by_one_and_found_by_their_stars(run: Run, batch: FarmBatch):
    first, _, third, last = (job.id for job in batch.jobs())

    assert run("rate", first, third, "5").err == "2 pictures rated 5\n"
    assert run("rate", last, "3").err == "1 picture rated 3\n"

    assert ratings(batch) == [5, 0, 5, 3]
    assert run("jobs", batch.id, "--rated", "4", "--fields", "id,rating").out == f"{first}\t5\n{third}\t5\n"
    assert [job["id"] for job in run("jobs", batch.id, "--rated", "3", "--json").json["jobs"]] == [first, third, last]
    assert "rated 3 of 5" in run("status", last).out
    assert "rated" not in run("status", batch.id + "-000001").out


def test_a_batch_means_all_its_pictures_and_the_manifest_tells(run: Run, batch: FarmBatch, tmp_path: Path):
    first = next(batch.jobs()).id

    assert run("rate", batch.id, first, "4", "--json").json == {"rating": 4, "num_rated": 4}
    run("rate", first, "0")
    run("download", batch.id, "--out", "p")

    lines = [json.loads(line) for line in (tmp_path / "p" / "manifest.jsonl").read_text().splitlines()]
    assert [line.get("rating") for line in lines] == [None, None, 4, 4]
    assert run("rate", batch.id, "0").err == "3 pictures without a rating\n"
    assert ratings(batch) == [0, 0, 0, 0]


@pytest.mark.parametrize("stars", ["6", "-1"])
def test_what_is_no_rating_is_refused_before_anything_is_rated(run: Run, batch: FarmBatch, stars: str):
    one, all_of_it = run("rate", next(batch.jobs()).id, stars), run("rate", batch.id, stars)

    for ran in (one, all_of_it):
        assert ran.code == 2
        assert f"rating is {stars}: must be a whole number from 1 to 5, or 0 for no rating" in ran.err
    assert ratings(batch) == [0, 0, 0, 0]


def test_what_cannot_be_rated_is_told(run: Run, batch: FarmBatch):
    no_stars, no_picture, unknown = (
        run("rate", batch.id),
        run("rate", batch.id + "-000001", "5"),
        run("rate", "nothing", "5"),
    )

    assert [no_stars.code, no_picture.code, unknown.code] == [2, 2, 2]
    assert "STARS" in no_stars.err
    assert "failed" in no_picture.err
    assert "there is no batch 'nothing'" in unknown.err
    assert run("jobs", batch.id, "--rated", "6").code == 2


def test_python_rates_what_it_holds(farm: Farm, batch: FarmBatch):
    farm.job(next(batch.jobs()).id).rate(5)

    assert ratings(batch) == [5, 0, 0, 0]
    assert batch.rate(2) == 3
    with pytest.raises(InvalidRequest, match="rating is 9"):
        batch.rate(9)
    assert (ratings(batch), batch.record.num_rated) == ([2, 0, 2, 2], 3)
