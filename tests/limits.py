"""How long a test waits. There is one limit, and only a hung test or a broken promise reaches it: on a machine that
does much else everything takes its time, and nothing fails by that."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds for whatever is waited for: a condition, an answer, a process that starts or ends.
LIMIT_S = 300.0
#: Pause between two looks at what is waited for.
LOOK_S = 0.02


def until(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until a condition of other threads or processes holds. Fails, naming it, if it does not come true."""
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, f"still not so after {limit_s} s: {what}"
        time.sleep(LOOK_S)
