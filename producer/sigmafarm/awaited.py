"""What somebody waits for, read again and again: what was there and is gone was lost, by no mistake of who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from sigmafarm_common.errors import NotFound, RecordsLost

T = TypeVar("T")


class Awaited(Generic[T]):
    """Reads the record of something that was accepted."""

    def __init__(self, read: Callable[[], T], what: str, *, was_there: bool = False):
        """`what` is its name in a sentence; `was_there`: whoever waits has submitted it."""
        self._read, self._what, self._was_there = read, what, was_there

    def __call__(self) -> T:
        """Return the record as it is now. Raises RecordsLost where it was there before, NotFound where it never was."""
        try:
            found = self._read()
        except NotFound:
            if self._was_there:
                raise records_lost(self._what) from None
            raise
        self._was_there = True
        return found


def records_lost(what: str) -> RecordsLost:
    """Return the error of something that was accepted and is not in the records any more."""
    return RecordsLost(
        f"{what} was accepted, and its records are gone: Redis has lost its newest writes (it crashed, or a backup or "
        "a replica took its place), or it is older than SIGMAFARM_RETENTION_S; send it again if it is still wanted"
    )
