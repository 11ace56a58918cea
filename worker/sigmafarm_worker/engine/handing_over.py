"""Futures begin and end: an owner may cancel one at any time, end it himself, or hang callbacks on it that raise.

All of that is the owner's affair: none of it reaches the engine.
"""

from __future__ import annotations

from concurrent.futures import InvalidStateError

from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine.slot import Slot
from sigmafarm_worker.telling import first_line, tell


def begin(slot: Slot) -> bool:
    """Make a job's future a running one, which cannot be cancelled any more. Return False if its owner wants it no
    more: it was cancelled, or is done already."""
    future = slot.future
    if future.running():
        return True
    if future.done() and not future.cancelled():
        return False
    try:
        return future.set_running_or_notify_cancel()
    except InvalidStateError:  # cancelled, and said so before
        return False


def end(slot: Slot, outcome: Rendered | Exception) -> None:
    """Give a job's owner its picture, or why there is none. Does nothing for a future that is done."""
    if not begin(slot):
        return
    try:
        if isinstance(outcome, Exception):
            slot.future.set_exception(outcome)
        else:
            slot.future.set_result(outcome)
    except InvalidStateError:  # its owner ended it in this very moment
        return
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # what a callback raised that is no Exception: futures swallow only those
        tell("error", "engine.callback_failed", error=f"{type(error).__name__}: {first_line(error)}")
