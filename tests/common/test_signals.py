"""A signal that comes at the worst moment is heard, and nothing hangs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from sigmafarm_common.signals import call_on
from tests.limits import until


@pytest.fixture
def _usual_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_usual_handler")
def test_signal_that_needs_a_lock_of_the_main_thread_waits_for_it_elsewhere() -> None:
    """A handler of its own would wait here for ever for what it interrupted."""
    lock, calls = threading.Lock(), list[str]()

    def stop() -> None:
        with lock:
            calls.append(threading.current_thread().name)

    call_on([signal.SIGUSR1], stop)
    with lock:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert calls == []

    until(lambda: calls == ["signals"] * 2, "both signals are heard")
