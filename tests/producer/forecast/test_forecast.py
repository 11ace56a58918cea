"""Promises that hold: what was said of a farm's end, beside its end, on farms that are reckoned and not run."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from sigmafarm.forecast import Eta, Forecast, rate_of
from sigmafarm_common.store.values import Pace
from tests.producer.forecast.simulated_farm import SimulatedFarm

MIXED = random.Random(3).choices([10, 20, 25, 30, 50], k=400)


@dataclass
class Said:
    """What was promised at some moments, and how long it took from there."""

    promised: list[tuple[Eta, float]]

    @property
    def ranges(self) -> list[tuple[Eta, float]]:
        return [(eta, left_s) for eta, left_s in self.promised if eta.most_s is not None]

    @property
    def held(self) -> float:
        """The part of the ranges in which the end was."""
        good = [eta.least_s <= left_s <= (eta.most_s or 0) for eta, left_s in self.ranges]
        return sum(good) / len(good)

    @property
    def least_held(self) -> float:
        """The part of all promises that the end was not before."""
        return sum(eta.least_s <= left_s for eta, left_s in self.promised) / len(self.promised)


def said_of(farm: SimulatedFarm, *, every_s: float = 5.0) -> Said:
    """Let a farm come to its end, and return what was promised on the way."""
    promised: list[tuple[Eta, float]] = []
    next_s = 0.0
    for now_s in farm.moments():
        if now_s >= next_s and (eta := _eta(farm)):
            promised.append((eta, now_s))
            next_s = now_s + every_s
    return Said([(eta, farm.now_s - at_s) for eta, at_s in promised])


def _eta(farm: SimulatedFarm) -> Eta | None:
    return Forecast.of(farm.pace, [], [farm.worker], 1000 * farm.now_s).of_batch(farm.batch)


FARMS = [
    pytest.param({"steps": MIXED, "failing": 0.3}, id="three in ten fail"),
    pytest.param({"steps": MIXED, "failing": 0.3, "erring": 0.1}, id="and one in ten is tried again"),
    pytest.param({"steps": [25] * 400}, id="pictures end sixteen at once"),
    pytest.param({"steps": MIXED, "failing": 0.3, "num_slots": 1, "step_s": 0.1}, id="one at a time"),
    pytest.param({"steps": MIXED[:60], "failing": 0.3, "num_slots": 4, "step_s": 1.5}, id="a slow machine"),
    pytest.param({"steps": sorted(MIXED), "failing": 0.3}, id="the short ones first"),
    pytest.param({"steps": [50] * 40, "step_s": 1.0}, id="three waves and it is over"),
    pytest.param({"steps": [25] * 8, "num_slots": 1, "step_s": 3.0}, id="eight pictures of a minute each"),
]


@pytest.mark.parametrize("about", FARMS)
def test_nine_of_ten_promised_ranges_hold(about: dict[str, object]):
    farms = [said_of(SimulatedFarm(**about, seed=seed)) for seed in range(4)]  # type: ignore[arg-type]

    held = sum(said.held * len(said.ranges) for said in farms) / sum(len(said.ranges) for said in farms)
    least_held = sum(said.least_held for said in farms) / len(farms)

    assert held >= 0.9
    assert least_held >= 0.9


def test_a_range_is_narrow_enough_to_plan_by_once_the_farm_is_known():
    said = said_of(SimulatedFarm(MIXED, failing=0.3))
    late = [(eta, left_s) for eta, left_s in said.ranges if 60 < left_s < 200]

    assert len(late) > 10
    assert all((eta.most_s or 0) <= 2.2 * max(eta.least_s, 1) for eta, _ in late)


def test_a_farm_that_slows_down_is_followed_within_minutes():
    said = said_of(SimulatedFarm(MIXED, failing=0.3, slower=(80, 2)))
    late = Said([(eta, left_s) for eta, left_s in said.promised if left_s < 250])

    assert late.held >= 0.9


def test_little_knowledge_is_told_as_little():
    one = [Pace(0, 3, 30.0)]
    two = [Pace(0, 3, 30.0), Pace(40_000, 3, 30.0)]

    guess, rate = rate_of(one, 20_000), rate_of(two, 60_000)

    assert guess is not None
    assert guess.most_s(60.0) is None, "nobody knows when the work of the only slot was begun"
    assert guess.least_s(60.0, in_flight=90.0) == pytest.approx(60 / 9)
    assert rate is not None
    assert rate.per_s == pytest.approx(30 / 40), "the work of the first slot was begun before it"
    assert (rate.least_s(60.0, 0.0), rate.most_s(60.0)) == (pytest.approx(80 / 1.5), pytest.approx(160))
    assert rate_of([], 0) is None
    assert rate_of(one, 5_000) is None, "the slot is not over"


def test_an_hour_without_work_does_not_slow_the_farm_down():
    before = [Pace(n * 10_000, 1, 10.0) for n in range(10)]
    after = [Pace(2_000_000 + n * 10_000, 1, 10.0) for n in range(4)]

    rate = rate_of([*before, *after], 2_100_000)

    assert rate is not None
    assert rate.per_s == pytest.approx(1.0)


def test_no_end_is_promised_where_nobody_draws_it():
    farm = SimulatedFarm(MIXED)
    for now_s in farm.moments():
        if now_s > 1_000_060:
            break
    pace, batch, now_ms = farm.pace, farm.batch, 1000 * farm.now_s
    drained = farm.worker.model_copy(update={"is_draining": True})

    def eta(batch_now=batch, workers=(farm.worker,)):  # type: ignore[no-untyped-def]
        return Forecast.of(pace, [], workers, now_ms).of_batch(batch_now)

    assert eta() is not None
    assert eta(workers=(drained,)) is None
    assert eta(batch.model_copy(update={"is_paused": True})) is None
    assert Forecast.of([], [], [farm.worker], now_ms).of_batch(batch) is None


def test_near_the_end_the_time_of_one_job_counts():
    farm = SimulatedFarm(MIXED)
    whole = farm.batch
    for _ in farm.moments():
        if farm.batch.counts.running <= 2 and not farm.batch.counts.queued:
            break
    forecast = Forecast.of(farm.pace, [], [farm.worker], 1000 * farm.now_s)

    with_it, without = forecast.of_batch(farm.batch, job_s=99.0), forecast.of_batch(farm.batch)

    assert forecast.is_near_its_end(farm.batch)
    assert not forecast.is_near_its_end(whole)
    assert with_it is not None
    assert without is not None
    assert with_it.most_s == 99.0
    assert (without.most_s or 0) < 10
