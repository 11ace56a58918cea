"""Lines of the log that cost no picture, and the short form of an error in them."""

from __future__ import annotations

from contextlib import suppress

import structlog

_log = structlog.get_logger("sigmafarm.engine")


def tell(level: str, event: str, **fields: object) -> None:
    """Write a line to the log. One that cannot be written (a full disk, a closed terminal) costs no picture."""
    with suppress(Exception):
        getattr(_log, level)(event, **fields)


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
