"""Work that has pauses in it, written once: a thread waits through them here, an event loop in `async_calls.py`.

Such work is a generator. It yields a Pause where it has nothing to do for a while, and returns what came of it, or
yields things as they come. Nothing in it waits by itself for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import FarmUnavailable

T = TypeVar("T")

#: Pause between two looks at a batch, in seconds.
POLL_S = 0.25
#: How long a farm may be away before work gives up, in seconds.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Pause:
    """How long nothing is to be done, in seconds."""

    seconds: float


def run_through(work: Generator[Pause, None, T], clock: Clock) -> T:
    """Do all of some work in this thread, pauses too, and return what came of it."""
    with closing(work):  # at once, also on Ctrl-C: a bar on the terminal ends with it
        while True:
            try:
                pause = next(work)
            except StopIteration as end:
                return end.value
            clock.wait(threading.Event(), pause.seconds)


def things_of(work: Generator[Pause | T, None, None], clock: Clock) -> Iterator[T]:
    """Yield the things that some work yields; its pauses are waited through in this thread."""
    with closing(work):
        for each in work:
            if isinstance(each, Pause):
                clock.wait(threading.Event(), each.seconds)
            else:
                yield each


def patiently(read: Callable[[], T], clock: Clock) -> Generator[Pause, None, T]:
    """Read a record, again and again while its farm is away, but not for ever: FarmUnavailable after PATIENCE_S."""
    give_up_s = clock.monotonic_s() + PATIENCE_S
    while True:
        try:
            return read()
        except FarmUnavailable as error:
            if not error.retryable or clock.monotonic_s() >= give_up_s:
                raise
            yield Pause(4 * POLL_S)
