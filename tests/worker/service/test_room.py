"""How many calls a worker takes, and when it takes the next."""

from __future__ import annotations

import threading

import pytest
import redis

from sigmafarm_worker.service.room import FULL_S, LOOK_S, Room
from tests.limits import LIMIT_S, until
from tests.worker.service.clerk import call, clerk


class FakeClock:
    """Seconds that stand still until they are told."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        raise AssertionError("a room waits for nothing")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_calls_ahead_are_taken_once_the_slots_have_been_full_for_a_while(clock: FakeClock) -> None:
    looks: list[float] = []
    room = Room(4, 2, clock=clock, look_again=looks.append)

    assert [room.bound(n) for n in range(5)] == [4] * 5
    assert looks == [LOOK_S], "it asks for a look when that while is over, once"
    clock.now_s += FULL_S / 2
    assert room.bound(4) == 4
    clock.now_s += FULL_S / 2
    assert [room.bound(n) for n in (4, 5, 6)] == [6] * 3
    assert looks == [LOOK_S]


def test_slots_that_stay_full_have_their_calls_ahead_renewed_at_once(clock: FakeClock) -> None:
    room = Room(4, 2, clock=clock, look_again=str)
    room.bound(4)
    clock.now_s += FULL_S

    assert room.bound(6) == 6
    assert room.bound(4) == 6, "two have ended, two went on into their slots"


def test_a_slot_that_was_empty_begins_the_while_anew(clock: FakeClock) -> None:
    looks: list[float] = []
    room = Room(4, 2, clock=clock, look_again=looks.append)
    room.bound(4)
    clock.now_s += FULL_S

    assert room.bound(3) == 4
    assert room.bound(4) == 4
    assert looks == [LOOK_S] * 2


def test_no_lookahead_takes_nothing_ahead(clock: FakeClock) -> None:
    room = Room(1, 0, clock=clock, look_again=str)

    room.bound(1)
    clock.now_s += 10 * FULL_S

    assert room.bound(1) == 1


def test_the_next_call_is_taken_when_one_is_answered_and_not_at_the_next_look(
    redis_client: redis.Redis, redis_url: str
) -> None:
    call(redis_url, 3)

    with clerk(redis_url, "1", "0", "asleep"):
        for num in (1, 2, 3):
            until(lambda num=num: redis_client.llen("taken") == num, f"{num} calls are taken", LIMIT_S)
            redis_client.rpush("go", 1)

    assert redis_client.lrange("taken", 0, -1) == ["job-0", "job-1", "job-2"]


def test_a_worker_takes_what_it_has_room_for_and_leaves_the_rest(redis_client: redis.Redis, redis_url: str) -> None:
    call(redis_url, 5)

    with clerk(redis_url, "2", "1"):
        until(lambda: redis_client.llen("taken") == 3, "two in slots and one ahead")
        redis_client.rpush("go", 1)
        until(lambda: redis_client.llen("taken") == 4, "another for the one that is answered")

        assert redis_client.llen("render.m") == 1
