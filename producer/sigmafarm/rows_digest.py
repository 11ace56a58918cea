"""Whether a submission is said again: a hash of its rows, and of what is said about all of them.

A row counts by what it says, in whatever form it comes: a line of text, a row of a table, an object. What was drawn for
a row (a seed) is no part of it. Pictures count by their bytes where those are at hand, else by what the row calls them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sigmafarm.items import InputRow, Item
from sigmafarm_common.setting_fields import text_of
from sigmafarm_common.settings import RenderRequest

#: Letters of a digest.
DIGEST_CHARS = 32


class RowsDigest:
    """The hash of rows that are handed on."""

    def __init__(self, *about_all: Any):
        """`about_all` is what is said about all rows."""
        self._hash = hashlib.sha256(_as_text(about_all))

    def of(self, items: Iterable[Item]) -> Iterator[Item]:
        """Hand rows on, and take them in."""
        for item in items:
            self._hash.update(_as_text(_told_by(item)))
            yield item

    def text(self) -> str:
        """Return the digest of all that was handed on."""
        return self._hash.hexdigest()[:DIGEST_CHARS]


def _told_by(item: Item) -> Any:
    if isinstance(item, InputRow):
        if item.errors:
            return [error.message for error in item.errors]
        return {name: value for name, value in item.data.items() if name != "seed" or not item.is_seed_drawn}
    if isinstance(item, RenderRequest):
        return item.said()
    return {"prompt": item} if isinstance(item, str) else item


def _as_text(said: Any) -> bytes:
    """Return values as text. Rows are not checked yet: what is no JSON at all counts by its kind alone."""
    try:
        return json.dumps(_plain(said), sort_keys=True, default=_named).encode()
    except (TypeError, ValueError, RecursionError):
        return type(said).__name__.encode()


def _plain(said: Any) -> Any:
    """Return what a row says without what it leaves out, numbers and truths as cells say them: 4 and "4" are one."""
    if not isinstance(said, Mapping):
        return said
    return {
        name: text_of(value) if isinstance(value, int | float | list | tuple) else value
        for name, value in said.items()
        if value is not None
    }


def _named(value: object) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if getattr(value, "shape", None) == ():  # a number of numpy's
        return str(value)
    pixels: Callable[[], bytes] | None = getattr(value, "tobytes", None)
    return hashlib.sha256(pixels()).hexdigest() if pixels else str(value)
