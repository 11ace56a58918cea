"""Signals, heard where it is safe: what they ask for is done in a thread of its own.

Python runs a handler in the middle of whatever the main thread does just then. One that sets an event, logs or prints
may need a lock that the main thread, or an earlier handler, holds: then the process hangs for good. So a handler here
only puts a word into a queue that is made for that (SimpleQueue.put may interrupt itself).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue


def call_on(numbers: Iterable[signal.Signals], call: Callable[[], object]) -> None:
    """Have a function called in a thread at each of some signals, one call after the other. Main thread only."""
    told: SimpleQueue[int] = SimpleQueue()

    def listen() -> None:
        while True:
            told.get()
            call()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, lambda number, _frame: told.put(number))
