"""One leave, one timer, ended when anybody is back: the lobby on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sigmafarm.http.fronts.lobby import GRACE_S, LONGEST_PAUSE_S, Lobby, Seat, grace_s
from sigmafarm_common.errors import StoreUnavailable


class MovedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is moved, and whose threads are done at once."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        del executor
        done = self.create_future()
        done.set_result(func(*args))
        return done


class Hall:
    """A lobby on such a loop, and the store as far as it asks one."""

    def __init__(self) -> None:
        self.loop = MovedLoop()
        self.lobby = Lobby(SimpleNamespace(store=self))  # pyright: ignore[reportArgumentType]
        self.num_elsewhere = 0
        #: Seats in Redis, and until when each counts.
        self.seats: dict[str, float] = {}
        self.is_away = False
        self.cancelled_s: list[float] = []

    def sit(self, grace: float = GRACE_S, seat_id: str = "seat") -> Seat:
        return self.lobby.seat("batch", grace_s=grace, seat_id=seat_id)

    def leave(self, seat: Seat) -> None:
        self.loop.run_until_complete(self._leave(seat))

    def answer(self, seat: Seat) -> None:
        seat.answer()
        self.leave(seat)

    def wait(self, seconds: float) -> None:
        """Let time pass, and what is due be done."""
        self.loop.now_s += seconds
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))

    async def _leave(self, seat: Seat) -> None:
        seat.__exit__()

    # -- the store
    def take_seat(self, _batch_id: str, seat_id: str, *, for_s: float) -> None:
        self.seats[seat_id] = self.loop.now_s + for_s

    def leave_seat(self, _batch_id: str, seat_id: str) -> None:
        self.seats.pop(seat_id, None)

    def num_seats(self, _batch_id: str) -> int:
        return self.num_elsewhere + sum(until_s > self.loop.now_s for until_s in self.seats.values())

    def cancel_batch(self, _batch_id: str) -> int:
        if self.is_away:
            raise StoreUnavailable("away")
        self.cancelled_s.append(self.loop.now_s)
        return 1


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    yield hall
    hall.loop.close()


def test_who_never_comes_back_is_cancelled_at_once_and_who_may_after_the_grace(hall: Hall):
    hall.leave(hall.sit(0.0))
    assert hall.cancelled_s == [0.0]

    hall.leave(hall.sit(4.0))
    hall.wait(3.9)
    assert hall.cancelled_s == [0.0]
    hall.wait(0.1)
    assert hall.cancelled_s == [0.0, 4.0]


def test_who_comes_and_goes_is_cancelled_by_the_timer_of_the_last_leave_alone(hall: Hall):
    for _ in range(6):  # sits for 1.5 s, is away for 3.9: some earlier timer would be over in every pause
        seat = hall.sit()
        hall.wait(1.5)
        hall.leave(seat)
        hall.wait(3.9)
    assert hall.cancelled_s == []

    hall.wait(0.1)
    assert len(hall.cancelled_s) == 1
    hall.wait(100)
    assert len(hall.cancelled_s) == 1


def test_a_leave_cancels_nothing_that_somebody_else_waits_for_here(hall: Hall):
    first, second = hall.sit(), hall.sit(0.0)
    hall.leave(second)
    hall.leave(hall.sit())
    hall.wait(100)
    assert hall.cancelled_s == []

    hall.leave(first)
    hall.wait(4)
    assert len(hall.cancelled_s) == 1


def test_a_leave_cancels_nothing_that_somebody_waits_for_at_another_process(hall: Hall):
    hall.num_elsewhere = 1
    hall.leave(hall.sit())
    hall.wait(4)
    hall.leave(hall.sit(0.0))

    assert hall.cancelled_s == []


def test_who_left_another_process_last_is_not_cancelled_by_the_timer_of_an_earlier_leave_here(hall: Hall):
    """The client asks two processes in turn: while this one's timer runs, it was at the other and may come back."""
    hall.leave(hall.sit(seat_id="here"))
    hall.wait(1)
    there = Lobby(SimpleNamespace(store=hall))  # pyright: ignore[reportArgumentType]
    hall.take_seat("batch", "there", for_s=600)
    seat = there.seat("batch", grace_s=GRACE_S, seat_id="there")
    hall.wait(2)
    hall.leave(seat)

    hall.wait(GRACE_S - 3)
    assert hall.cancelled_s == [], "the timer here is over, and the grace there is not"
    hall.wait(3)
    assert len(hall.cancelled_s) == 1


def test_an_answer_ends_the_timer_of_an_earlier_leave(hall: Hall):
    hall.leave(hall.sit())
    hall.answer(hall.sit())
    hall.wait(100)

    assert hall.cancelled_s == []


def test_one_who_gives_up_for_good_is_not_waited_for_any_longer(hall: Hall):
    hall.leave(hall.sit())
    seat = hall.sit()
    seat.give_up()
    hall.leave(seat)
    assert hall.cancelled_s == [0.0]

    hall.wait(100)
    assert hall.cancelled_s == [0.0]


def test_a_store_that_is_away_ends_nothing_but_the_cancel(hall: Hall):
    hall.is_away = True
    hall.leave(hall.sit(0.0))
    hall.leave(hall.sit())
    hall.wait(100)
    hall.is_away = False

    hall.leave(hall.sit(0.0))
    assert hall.cancelled_s == [100.0]


@pytest.mark.parametrize(("retry", "least_s"), [(None, 0.5), (0, 0.5), (1, 1), (3, 4), (4, 8), (999, LONGEST_PAUSE_S)])
def test_the_grace_is_longer_than_the_pause_that_a_client_makes(retry: int | None, least_s: float):
    assert grace_s(retry) >= least_s + 1.0
