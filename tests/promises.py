"""Promises of time, kept apart from what else the machine does.

The same moment's probe, something of the same kind that does not wait for what the promise is about, says how slow the
machine is now. And load comes and goes while a broken promise stays: what took too long is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: How many times the probe's time is allowed on top of the promise.
ALLOWANCE = 4
#: How often a promise may seem broken before it is.
NUM_TRIES = 5


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began_s = time.monotonic()
    call()
    return time.monotonic() - began_s


def check_promise(promise_s: float, took_s: Callable[[], float], probe_s: Callable[[], float], what: str) -> None:
    """Assert that something takes at most what was promised, beyond what the machine adds at that moment."""
    seen: list[str] = []
    for _ in range(NUM_TRIES):
        before_s, measured_s, after_s = probe_s(), took_s(), probe_s()
        if measured_s <= promise_s + ALLOWANCE * max(before_s, after_s):
            return
        seen.append(f"{measured_s:.2f} s (probe {before_s:.2f} and {after_s:.2f} s)")
    raise AssertionError(f"{what} in {promise_s:g} s was promised; it took {', '.join(seen)}")
