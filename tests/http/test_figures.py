"""The farm in figures: pace, seconds of work, Prometheus's text."""

from __future__ import annotations

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sigmafarm import Farm
from sigmafarm.figures import UNKNOWN_PACE, cost_per_s, images_per_s, work_left
from sigmafarm.http.metrics.collector import TOTALS
from sigmafarm_common.store.values import Pace
from tests.farm_hand import FarmHand


def pace(*entries: tuple[int, int, float]) -> list[Pace]:
    return [Pace(second * 1000, num, cost) for second, num, cost in entries]


def test_images_a_second_count_the_last_minute_only():
    assert images_per_s(pace((0, 60, 1.0), (100, 30, 1.0), (110, 30, 1.0)), 120_000) == 1.0
    assert images_per_s(pace((0, 60, 1.0)), 120_000) == 0.0


def test_work_is_judged_by_the_last_minutes_in_which_something_was_drawn():
    drawn = pace((0, 1, 1000.0), (1000, 1, 30.0), (1010, 1, 30.0), (1020, 1, 30.0))

    assert cost_per_s(drawn) == 3.0
    assert work_left(90.0, drawn, 2).work_s == 30.0
    assert work_left(90.0, drawn, 2).worker_seconds == 60.0
    assert work_left(90.0, drawn, 2).is_measured


def test_a_farm_that_has_drawn_nothing_says_that_it_guesses():
    guess = work_left(90.0, [], 3)

    assert not guess.is_measured
    assert guess.work_s == 90.0 / (3 * UNKNOWN_PACE)
    assert work_left(90.0, [], 0).worker_seconds == 90.0 / UNKNOWN_PACE
    assert work_left(0.0, [], 0).work_s == 0.0


def test_the_farm_tells_its_queues_and_its_work(http: httpx2.Client, farm: Farm, hand: FarmHand):
    farm.submit(["a"] * 3, priority=5)

    said = http.get("/v1/farm").json()

    assert said["queues"][0]["waiting"] == {"5": 3}
    assert said["open_cost"] == pytest.approx(3 * 50 * 64 * 64 / 1e6)
    assert said["work_s"] == pytest.approx(said["open_cost"] / UNKNOWN_PACE, abs=0.01)
    assert said["totals"]["submitted"] == 3
    assert len(said["batches"]) == 1
    hand.work_all()
    done = http.get("/v1/farm?limit=0").json()
    assert (done["work_s"], done["is_measured"], done["batches"]) == (0.0, True, [])
    assert sum(entry["num_pictures"] for entry in done["pace"]) == 3
    assert done["images_per_s"] == 0.05


def test_prometheus_reads_the_same(http: httpx2.Client, farm: Farm, hand: FarmHand):
    farm.submit(["a", "b", "fail c"], priority=-2)
    hand.work_all()
    farm.submit(["d"], priority=7)

    text = http.get("/metrics").text
    samples = {
        (s.name, *sorted(s.labels.values())): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }

    assert samples["sigmafarm_queue_jobs", "7", "tiny"] == 1
    assert samples["sigmafarm_jobs_succeeded_total",] == 2
    assert samples["sigmafarm_jobs_failed_total",] == 1
    assert samples["sigmafarm_workers",] == 1
    assert samples["sigmafarm_worker_slots",] == 16
    assert samples["sigmafarm_worker_slots_filled",] == 0
    assert 0 <= samples["sigmafarm_queue_oldest_seconds", "tiny"] < 60
    assert samples["sigmafarm_work_seconds",] > 0
    names = {name for name, *_ in samples}
    assert {f"sigmafarm_{metric}_total" for metric, _ in TOTALS.values()} <= names


def test_worker_that_takes_no_jobs_is_told_to_prometheus_and_to_who_asks_whether_the_api_is_ready(
    http: httpx2.Client, farm: Farm, hand: FarmHand
):
    (worker,) = farm.workers()
    farm.store.renew(worker.model_copy(update={"failing": "pictures cannot be stored: the disk is full"}), [])

    samples = {s.name: s.value for f in text_string_to_metric_families(http.get("/metrics").text) for s in f.samples}
    ready = http.get("/readyz").text

    assert (samples["sigmafarm_workers_failing"], samples["sigmafarm_workers_taking_jobs"]) == (1, 0)
    assert "none takes jobs now: submissions wait for one; hand: pictures cannot be stored" in ready


def test_every_total_of_the_store_has_its_metric(farm: Farm, hand: FarmHand):
    farm.submit(["a", "fail b"])
    hand.work_all()

    assert set(farm.store.totals()) <= set(TOTALS)
