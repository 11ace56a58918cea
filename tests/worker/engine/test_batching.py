"""The policy alone: nobody is lost, nobody overtakes, no lane starves, no lane holds more than its slots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sigmafarm_worker.engine.batching import Batching

CAPACITY = {"a": 1, "b": 2, "c": 5}

#: A run: jobs that arrive before each step, as (lane, steps that the job needs), and how many of them.
arrivals = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12)), max_size=4), min_size=1, max_size=40
)


class Job:
    def __init__(self, lane: str, num_steps: int):
        self.lane, self.left = lane, num_steps


def simulate(plan: list[list[tuple[str, int]]], quantum: int):
    """Run a plan to its end; yield after each step (lane stepped, who joined, who is inside, lanes with work)."""
    batching: Batching[str, Job] = Batching(lambda key: CAPACITY[key], quantum)
    inside: dict[str, list[Job]] = {key: [] for key in CAPACITY}
    for step in range(10_000):
        for lane, num_steps in plan[step] if step < len(plan) else []:
            batching.add(lane, Job(lane, num_steps))
        lanes = batching.lanes
        key = batching.next_lane()
        if key is None:
            if step >= len(plan):
                return
            continue
        joined = batching.admit(key)
        inside[key] += joined
        yield key, joined, list(inside[key]), lanes
        for job in inside[key]:
            job.left -= 1
        done = [job for job in inside[key] if job.left == 0]
        inside[key] = [job for job in inside[key] if job.left > 0]
        batching.remove(key, done)
    raise AssertionError("the plan never ended")


@given(arrivals, st.integers(1, 8))
def test_every_job_is_drawn_once_and_no_lane_holds_more_than_its_slots(plan, quantum):
    joined: list[Job] = []
    for key, joining, inside, _ in simulate(plan, quantum):
        joined += joining
        assert 0 < len(inside) <= CAPACITY[key]

    assert len(joined) == len(set(joined)) == sum(len(jobs) for jobs in plan)
    assert all(job.left == 0 for job in joined)


@given(arrivals, st.integers(1, 8))
def test_within_a_lane_jobs_join_in_the_order_of_their_arrival(plan, quantum):
    wanted = {key: [steps for jobs in plan for lane, steps in jobs if lane == key] for key in CAPACITY}
    joined: dict[str, list[int]] = {key: [] for key in CAPACITY}
    for _, joining, _, _ in simulate(plan, quantum):
        for job in joining:
            joined[job.lane].append(job.left)

    assert joined == wanted


@given(arrivals, st.integers(1, 8))
def test_no_lane_with_work_waits_longer_than_the_others_quanta(plan, quantum):
    waited: dict[str, int] = {}
    for key, _, _, lanes in simulate(plan, quantum):
        waited = {lane: waited.get(lane, 0) + 1 for lane in lanes}
        waited[key] = 0
        assert max(waited.values()) <= (len(CAPACITY) - 1) * quantum


def test_a_lane_keeps_the_device_for_a_quantum_while_others_wait():
    batching: Batching[str, Job] = Batching(lambda _: 4, quantum=3)
    for lane in "ab":
        batching.add(lane, Job(lane, 99))

    assert "".join(str(batching.next_lane()) for _ in range(9)) == "aaabbbaaa"


def test_the_lane_after_one_that_ended_gets_a_whole_quantum():
    batching: Batching[str, Job] = Batching(lambda _: 4, quantum=3)
    short, long = Job("a", 1), Job("b", 9)
    batching.add("a", short)
    batching.add("b", long)
    batching.next_lane()
    batching.admit("a")
    batching.remove("a", [short])
    batching.add("c", Job("c", 9))

    assert "".join(str(batching.next_lane()) for _ in range(4)) == "bbbc"


def test_waiting_jobs_fill_a_free_slot_at_once():
    batching: Batching[str, Job] = Batching(lambda _: 2)
    jobs = [Job("a", 5) for _ in range(4)]
    for job in jobs:
        batching.add("a", job)

    assert batching.admit("a") == jobs[:2]
    assert batching.admit("a") == []
    batching.remove("a", [jobs[0]])
    assert batching.admit("a") == [jobs[2]]
    assert (batching.num_inside, batching.num_waiting) == (2, 1)


def test_a_waiting_job_can_be_taken_out():
    batching: Batching[str, Job] = Batching(lambda _: 1)
    inside, waiting = Job("a", 5), Job("a", 5)
    batching.add("a", inside)
    batching.add("a", waiting)
    batching.admit("a")

    batching.remove("a", [waiting])

    assert batching.items() == [inside]
