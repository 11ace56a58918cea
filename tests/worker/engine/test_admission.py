"""Who joins a lane: as many as make it draw faster, the short ones at once, everybody where more wait than fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmafarm_worker.engine.admission import MAX_LANES, MIN_PASSES, Demand, RowCosts, joining
from sigmafarm_worker.engine.batching import Batching

SLOTS = 16


def learned(pass_s: dict[int, float], num_passes: int = 2 * MIN_PASSES) -> RowCosts[str]:
    """Return what is known after so many passes over each number of rows."""
    costs: RowCosts[str] = RowCosts()
    for num_rows, seconds in pass_s.items():
        for _ in range(num_passes):
            costs.note("lane", num_rows, seconds)
    return costs


def test_rows_are_enough_where_twice_as_many_cost_the_same_each():
    assert learned({1: 1.0, 2: 1.2, 4: 2.0, 8: 3.9, 16: 7.8}).enough_rows("lane") == 4


def test_nothing_is_enough_as_long_as_more_rows_were_not_tried():
    assert learned({1: 1.0, 2: 1.9}).enough_rows("lane") is None
    assert learned({4: 2.0, 7: 3.5}).enough_rows("lane") is None
    assert learned({}).enough_rows("lane") is None


def test_a_device_that_gains_by_every_row_has_never_enough():
    assert learned(dict.fromkeys((1, 2, 4, 8, 16, 32), 5.0)).enough_rows("lane") is None


def test_a_few_passes_do_not_count_and_neither_does_the_first_after_another_number_of_rows():
    assert learned({1: 1.0, 2: 2.0}, num_passes=MIN_PASSES).enough_rows("lane") is None
    assert learned({1: 1.0, 2: 2.0}, num_passes=MIN_PASSES + 1).enough_rows("lane") == 1


def test_one_pass_that_takes_long_changes_little():
    costs = learned({1: 1.0, 2: 2.0, 4: 4.0})
    costs.note("lane", 1, 1.0)
    costs.note("lane", 1, 1000.0)
    for _ in range(10):
        costs.note("lane", 1, 1.0)

    assert costs.enough_rows("lane") == 1


def test_what_a_device_gained_by_is_learned_anew_when_it_changes():
    costs = learned({1: 1.0, 2: 2.0, 4: 4.0})
    assert costs.enough_rows("lane") == 1
    for num_rows, seconds in {1: 4.0, 2: 4.0, 4: 4.0, 8: 8.0}.items():
        for _ in range(100):
            costs.note("lane", num_rows, seconds)

    assert costs.enough_rows("lane") == 4


def test_the_lanes_that_were_stepped_last_are_remembered():
    costs: RowCosts[int] = RowCosts()
    for lane in range(2 * MAX_LANES):
        for num_rows in (1, 2):
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


#: Pictures that come before each step, as (rows, calls).
arrivals = st.lists(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 60)), max_size=3), min_size=1, max_size=40)


@given(arrivals, st.integers(1, 8), st.integers(1, 6))
def test_all_are_drawn_and_a_lane_with_work_never_stands(plan, enough_rows, num_slots):
    batching: Batching[str, Picture] = Batching(lambda _: num_slots)
    num_drawn, step = 0, 0
    while step < len(plan) or batching.lanes:
        for num_rows, num_calls in plan[step] if step < len(plan) else []:
            batching.add("lane", Picture(num_rows, num_calls))
        step += 1
        if batching.next_lane() is None:
            continue
        inside = [each.demand for each in batching.inside("lane")]

        def choose(waiting, inside=inside):
            asked = [each.demand for each in waiting]
            return joining(inside, asked, num_slots=num_slots, enough_rows=enough_rows)

        batching.admit("lane", choose)
        drawn = batching.inside("lane")
        assert 0 < len(drawn) <= num_slots
        for picture in drawn:
            picture.left -= 1
        done = [picture for picture in drawn if not picture.left]
        num_drawn += len(done)
        batching.remove("lane", done)

    assert num_drawn == sum(len(each) for each in plan)


@pytest.mark.parametrize("enough_rows", [1, 2, 5, 8])
def test_a_picture_waits_for_the_slowest_inside_and_a_third_more_however_many_short_ones_come(enough_rows):
    """The slowest inside has 256 calls left; before each step a short one comes, of the most calls that are short."""
    longest = 256
    batching: Batching[str, Picture] = Batching(lambda _: SLOTS)
    for _ in range(enough_rows):
        batching.add("lane", Picture(1, longest))
    batching.admit("lane")
    last = Picture(2, 1000)
    batching.add("lane", last)
    for step in range(2 * longest):
        if last in batching.inside("lane"):
            assert step <= longest * 4 / 3 + 4
            return
        batching.next_lane()
        inside = [each.demand for each in batching.inside("lane")]
        short = max((each.num_calls for each in inside), default=0) // 4
        if short and len(batching.waiting("lane")) < SLOTS - len(inside):
            batching.add("lane", Picture(1, short))
        batching.admit(
            "lane",
            lambda waiting, inside=inside: joining(
                inside, [each.demand for each in waiting], num_slots=SLOTS, enough_rows=enough_rows
            ),
        )
        done = []
        for picture in batching.inside("lane"):
            picture.left -= 1
            if not picture.left:
                done.append(picture)
        batching.remove("lane", done)
    raise AssertionError("it never joined")
