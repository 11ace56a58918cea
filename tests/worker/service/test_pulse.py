"""The line between a worker and its supervisor, on a clock that a test moves."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from sigmafarm_worker.service.pulse import READY_MARGIN_S, START_LIMIT_S, Listener, Pulse


class Hand:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.now_s += timeout_s
        return event.is_set()


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def listener(clock: Hand) -> Iterator[Listener]:
    listener = Listener(clock, stall_s=10)
    yield listener
    listener.close()


def test_a_ready_worker_is_silent_after_its_stall_and_a_starting_one_much_later(clock: Hand, listener: Listener):
    pulse = Pulse(listener.child_fd, lambda: True, lambda: None)

    pulse.run_once()
    assert not listener.is_silent()
    clock.now_s += START_LIMIT_S - 1
    assert not listener.is_silent()
    pulse.is_ready = True
    pulse.run_once()
    assert not listener.is_silent()
    clock.now_s += 10 + READY_MARGIN_S + 0.1
    assert listener.is_silent()


def test_an_engine_that_stands_still_gives_no_sign(clock: Hand, listener: Listener):
    pulse = Pulse(listener.child_fd, lambda: False, lambda: None)
    pulse.is_ready = True

    pulse.run_once()

    clock.now_s += START_LIMIT_S + 1
    assert listener.is_silent()


def test_a_broken_line_is_told():
    read, write = os.pipe()
    os.close(read)
    told: list[str] = []

    Pulse(write, lambda: True, lambda: told.append("orphaned")).run_once()

    os.close(write)
    assert told == ["orphaned"]
