"""What an object store does, whether it is a folder or a bucket.

Both keep this contract and pass the same suite (tests/common/objects_contract.py). Invariants: an object is there whole
or not at all; putting a key again replaces it whole; once `put` has returned, the object survives a crash of the
machine (as far as the server behind a bucket keeps that promise). Safe to use from many threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol, runtime_checkable

from sigmafarm_common.errors import InvalidInput

#: The longest key, in characters.
MAX_KEY_CHARS = 512
#: How many bytes a stream hands over at once.
CHUNK_BYTES = 1 << 20

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")


@dataclass(frozen=True)
class ObjectInfo:
    """What a store knows of an object without opening it."""

    key: str
    size_bytes: int
    #: When it was put, in milliseconds since 1970 by the storage's clock.
    modified_ms: int


class ObjectStore(Protocol):
    """The contract. Every method raises StorageUnavailable or AccessDenied, with the cure, if the store fails; only
    those that say so raise NotFound."""

    def check(self) -> None:
        """Put, read and delete a small object, so that a wrong name, address or secret shows at start-up."""
        ...

    def put(self, key: str, data: bytes | BinaryIO, content_type: str) -> None:
        """Store an object; a file is read from where it stands to its end. When this returns, the store has shown that
        it has these very bytes."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object. Raises NotFound."""
        ...

    def stream(self, key: str) -> Iterator[bytes]:
        """Open an object at once and return its pieces. Raises NotFound at the call, not at the first piece."""
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Return what is known of an object. Raises NotFound."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Return every object whose key begins with a prefix, in no promised order."""
        ...

    def partials(self) -> Iterator[ObjectInfo]:
        """Return what writers that were killed left half written: no objects, seen by no other method. Only a folder
        has any."""
        ...

    def delete_partial(self, key: str) -> None:
        """Remove one of those; one that is not there is no error. Raises InvalidInput for any other key."""
        ...

    def url(self, key: str, expires_s: int = 600) -> str:
        """Return a link to an object: one that works for some minutes without a secret, or a file's address."""
        ...


@runtime_checkable
class HasClock(Protocol):
    """A store whose server has a clock of its own, which it compares with ours."""

    def clock_ahead_s(self) -> float | None:
        """Return how far its clock is ahead of this machine's, in seconds; None where it tells no time."""
        ...


def checked_key(key: str) -> str:
    """Return the key. Raises InvalidInput for one that could name anything outside of the store."""
    if len(key) > MAX_KEY_CHARS or not _KEY.fullmatch(key):
        raise InvalidInput(
            f"object key is {key[:80]!r}: must be parts of letters, digits, dot, dash or underscore, split by single "
            f"slashes, {MAX_KEY_CHARS} characters at most, no part beginning with a dot"
        )
    return key
