"""Who joins a lane: as many as make it draw faster, the short ones at once, everybody where more wait than fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmafarm_worker.engine.admission import (
    FEW,
    MAX_BETWEEN,
    MAX_LANES,
    MIN_COMPARED,
    MIN_PASSES,
    Demand,
    RowCosts,
    joining,
)
from sigmafarm_worker.engine.batching import Batching

SLOTS = 16


def learned(pass_s: dict[int, float], num_rounds: int = 2 * MIN_COMPARED) -> RowCosts[str]:
    """Return what is known after so many rounds of passes over each number of rows."""
    costs: RowCosts[str] = RowCosts()
    learn(costs, pass_s, num_rounds)
    return costs


def learn(costs: RowCosts[str], pass_s: dict[int, float], num_rounds: int, speeds: Iterable[float] = ()) -> None:
    """Make passes over each number of rows in turn, up and down, each round at a speed of the machine."""
    for _, speed in zip(range(num_rounds), [*speeds] or repeat(1.0), strict=False):
        for num_rows in (*pass_s, *reversed(pass_s)):
            for _ in range(MIN_PASSES + 1):
                costs.note("lane", num_rows, pass_s[num_rows] / speed)


def test_rows_are_enough_where_twice_as_many_cost_the_same_each():
    assert learned({1: 1.0, 2: 1.2, 4: 2.0, 8: 3.9, 16: 7.8}).enough_rows("lane") == 4


def test_rows_that_cost_a_little_more_are_enough_as_long_as_few_wait():
    costs = learned({1: 1.4, 2: 2.14, 4: 4.0, 8: 8.0})

    assert costs.enough_rows("lane") == costs.enough_rows("lane", FEW) == 2
    assert costs.enough_rows("lane", FEW + 1) == 4


def test_nothing_is_enough_as_long_as_more_rows_were_not_tried():
    assert learned({1: 1.0, 2: 1.7}).enough_rows("lane") is None
    assert learned({4: 2.0, 7: 3.5}).enough_rows("lane") is None
    assert learned({4: 2.0}).enough_rows("lane") is None
    assert learned({}).enough_rows("lane") is None


def test_a_device_that_gains_by_every_row_has_never_enough():
    assert learned(dict.fromkeys((1, 2, 4, 8, 16, 32), 5.0)).enough_rows("lane") is None


def test_a_few_passes_do_not_count_and_neither_does_the_first_after_another_number_of_rows():
    costs: RowCosts[str] = RowCosts()
    for num_rows in (1, 2) * 20:
        for _ in range(MIN_PASSES):
            costs.note("lane", num_rows, float(num_rows))
    assert costs.num_compared("lane", 1) == costs.num_compared("lane", 2) == 0

    assert learned({1: 1.0, 2: 2.0}).enough_rows("lane") == 1


def test_passes_that_were_laid_out_anew_do_not_count():
    costs = learned({1: 1.0, 2: 2.0})
    for num_rows in (1, 2) * 20:
        for _ in range(10):
            costs.note("lane", num_rows, 0.001 * num_rows**2, is_new=True)

    assert costs.enough_rows("lane") == 1


def take_turns(costs: RowCosts[str], num_between: int) -> None:
    """Make passes over 1 and 2 rows in turn, eight at a time, with so many of other lanes between."""
    for num_rows in (1, 2) * 20:
        for _ in range(8):
            costs.note("lane", num_rows, float(num_rows))
        for turn in range(num_between):
            costs.note(f"other lane {turn // 8}", 1, 1000.0)


@pytest.mark.parametrize("num_between", [1, 8, 24, MAX_BETWEEN])
def test_lanes_that_take_turns_learn_each_for_itself(num_between: int):
    costs: RowCosts[str] = RowCosts()
    take_turns(costs, num_between)

    assert costs.num_compared("lane", 1) > MIN_COMPARED
    assert costs.enough_rows("lane") == 1


def test_passes_that_lie_far_apart_are_no_comparison():
    costs: RowCosts[str] = RowCosts()
    take_turns(costs, MAX_BETWEEN + 1)

    assert costs.num_compared("lane", 1) == 0


def test_the_first_pass_of_a_turn_does_not_count():
    costs: RowCosts[str] = RowCosts()
    for num_rows in (1, 2) * 20:
        for _ in range(3 * MIN_PASSES):
            costs.note("lane", num_rows, float(num_rows))
            costs.note("other lane", 1, 1.0)

    assert costs.num_compared("lane", 1) == 0


def test_one_pass_that_takes_long_changes_nothing():
    costs = learned({1: 1.0, 2: 2.0, 4: 4.0})
    for seconds in (1.0, 1.0, 1000.0, 1.0, 1.0):
        costs.note("lane", 1, seconds)
    for _ in range(10):
        costs.note("lane", 2, 2.0)

    assert costs.enough_rows("lane") == 1


def test_what_a_device_gained_by_is_learned_anew_when_it_changes():
    costs = learned({1: 1.0, 2: 2.0, 4: 4.0})
    assert costs.enough_rows("lane") == 1

    learn(costs, {1: 4.0, 2: 4.0, 4: 4.0, 8: 8.0}, 40)

    assert costs.enough_rows("lane") == 4


@given(st.lists(st.floats(0.2, 5.0), min_size=2, max_size=20))
def test_a_machine_that_becomes_slower_or_faster_is_no_news(speeds: list[float]):
    costs: RowCosts[str] = RowCosts()

    learn(costs, {1: 1.5, 2: 2.0, 4: 4.0, 8: 8.0}, len(speeds), speeds)

    assert costs.enough_rows("lane") == 2


def test_a_number_of_rows_that_was_compared_with_none_that_is_known_waits_for_one_that_is():
    costs = learned({1: 1.0, 2: 2.0})
    for _ in range(MAX_BETWEEN + 1):
        costs.note("other lane", 1, 1.0)
    for num_rows in (8, 16, 8, 16):
        for _ in range(MIN_PASSES + 1):
            costs.note("lane", num_rows, float(num_rows))
    assert costs.num_compared("lane", 8) == costs.num_compared("lane", 16) == 0

    learn(costs, {1: 1.0, 8: 8.0, 16: 16.0}, 2)

    assert costs.num_compared("lane", 16) > MIN_COMPARED
    assert costs.enough_rows("lane") == 1


def test_the_lanes_that_were_stepped_last_are_remembered():
    costs: RowCosts[int] = RowCosts()
    for lane in range(2 * MAX_LANES):
        for num_rows in (1, 2) * MIN_COMPARED:
            for _ in range(MIN_PASSES + 1):
                costs.note(lane, num_rows, float(num_rows))

    known = [lane for lane in range(2 * MAX_LANES) if costs.enough_rows(lane)]
    assert known == list(range(MAX_LANES, 2 * MAX_LANES))


def test_a_lane_takes_rows_until_they_are_enough():
    waiting = [Demand(2, 50)] * 5

    assert joining([], waiting, num_slots=SLOTS, enough_rows=4) == [0, 1]
    assert joining([Demand(2, 50)], waiting, num_slots=SLOTS, enough_rows=4) == [0]
    assert joining([Demand(2, 50)] * 2, waiting, num_slots=SLOTS, enough_rows=4) == []
    assert joining([], waiting, num_slots=SLOTS, enough_rows=1) == [0]
    assert joining([], waiting, num_slots=SLOTS, enough_rows=None) == [0, 1, 2, 3, 4]


def test_all_slots_are_filled_where_more_wait_than_fit():
    waiting = [Demand(2, 50)] * SLOTS

    assert joining([], waiting, num_slots=SLOTS, enough_rows=4) == [0, 1]
    assert joining([Demand(2, 50)], waiting, num_slots=SLOTS, enough_rows=4) == list(range(SLOTS - 1))
    assert joining([Demand(2, 50)] * SLOTS, waiting, num_slots=SLOTS, enough_rows=4) == []


def test_a_short_picture_goes_before_those_that_wait_for_a_long_one():
    inside = [Demand(2, 400), Demand(2, 10)]
    waiting = [Demand(2, 200), Demand(2, 100), Demand(2, 101), Demand(1, 20)]

    assert joining(inside, waiting, num_slots=SLOTS, enough_rows=4) == [1, 3]


def test_nobody_goes_before_another_of_its_length_for_being_smaller():
    inside = [Demand(2, 50), Demand(1, 50)]
    waiting = [Demand(2, 50), Demand(1, 50)]

    assert joining(inside, waiting, num_slots=SLOTS, enough_rows=3) == []
    assert joining(inside, waiting, num_slots=SLOTS, enough_rows=4) == [0]


class Picture:
    def __init__(self, num_rows: int, num_calls: int):
        self.num_rows, self.left = num_rows, num_calls

    @property
    def demand(self) -> Demand:
        return Demand(self.num_rows, self.left)


class OneLane:
    """A lane under the whole policy: batching.py, with admission.py to say who joins."""

    def __init__(self, num_slots: int, enough_rows: int):
        self.num_slots, self.enough_rows = num_slots, enough_rows
        self.batching: Batching[str, Picture] = Batching(lambda _: num_slots)

    def add(self, picture: Picture) -> None:
        self.batching.add("lane", picture)

    def step(self) -> list[Picture]:
        """Move all inside by a call; return who was."""
        if self.batching.next_lane() is None:
            return []
        self.batching.admit("lane", self._chosen)
        inside = self.batching.inside("lane")
        for picture in inside:
            picture.left -= 1
        self.batching.remove("lane", [picture for picture in inside if not picture.left])
        return inside

    def _chosen(self, waiting: Sequence[Picture]) -> list[int]:
        inside, asked = ([each.demand for each in some] for some in (self.batching.inside("lane"), waiting))
        return joining(inside, asked, num_slots=self.num_slots, enough_rows=self.enough_rows)


#: Pictures that come before each step, as (rows, calls).
arrivals = st.lists(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 60)), max_size=3), min_size=1, max_size=40)


@given(arrivals, st.integers(1, 8), st.integers(1, 6))
def test_all_are_drawn_and_a_lane_with_work_never_stands(plan, enough_rows, num_slots):
    lane, pictures = OneLane(num_slots, enough_rows), list[Picture]()
    for step in range(10_000):
        coming = [Picture(*each) for each in plan[step]] if step < len(plan) else []
        for picture in coming:
            lane.add(picture)
        pictures += coming
        if not lane.batching.lanes and step >= len(plan):
            break
        had_work = bool(lane.batching.lanes)
        assert had_work <= len(lane.step()) <= num_slots

    assert [picture.left for picture in pictures] == [0] * sum(len(each) for each in plan)


@pytest.mark.parametrize("enough_rows", [1, 2, 5, 8])
def test_a_picture_waits_for_the_slowest_inside_and_a_third_more_however_many_short_ones_come(enough_rows):
    """The slowest inside has 256 calls left; before each step a short one comes, of the most calls that are short."""
    longest, lane = 256, OneLane(SLOTS, enough_rows)
    for _ in range(enough_rows):
        lane.add(Picture(1, longest))
    inside = lane.step()
    last = Picture(2, 1000)
    lane.add(last)
    waited, num_overtaking = 1, 0
    while last not in inside:
        assert waited <= longest * 4 / 3 + 4
        short = max((each.left for each in inside), default=0) // 4
        if short and lane.batching.num_inside + lane.batching.num_waiting < SLOTS:
            lane.add(Picture(1, short))
            num_overtaking += 1
        inside, waited = lane.step(), waited + 1

    assert waited > longest
    assert num_overtaking > SLOTS - enough_rows
