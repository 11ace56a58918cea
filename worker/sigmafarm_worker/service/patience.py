"""Waiting for a service that is away: what a worker has to say of a job it says when the service is back."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import FarmUnavailable, SigmafarmError

#: How long a worker waits with what it has to say; how long it keeps a picture that another worker could draw.
PATIENCE_S = 600.0
#: Pauses between two tries: the first, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0

T = TypeVar("T")

_log = structlog.get_logger("sigmafarm.worker")


def patiently(call: Callable[[], T], clock: Clock, *, patience_s: float = PATIENCE_S) -> T:
    """Return what a call returns, trying again while its service is away, with pauses that grow.

    Raises the last error after patience_s, and at once one that no waiting mends (refused credentials). What nobody
    foresaw is waited out too: it says nothing about what is to be delivered.
    """
    began_s, pause_s = clock.monotonic_s(), FIRST_PAUSE_S
    while True:
        try:
            return call()
        except FarmUnavailable as error:
            if not error.retryable or clock.monotonic_s() - began_s > patience_s:
                raise
            _log.warning("waiting for a service", error=str(error), pause_s=pause_s)
        except SigmafarmError:
            raise
        except Exception:
            if clock.monotonic_s() - began_s > patience_s:
                raise
            _log.exception("a service fails in an unforeseen way, it is asked again", pause_s=pause_s)
        clock.wait(threading.Event(), jittered(pause_s))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def jittered(pause_s: float) -> float:
    """Return a pause of about this length, so that many who wait do not come back at once."""
    return pause_s * random.uniform(0.5, 1.0)
