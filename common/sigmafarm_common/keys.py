"""Keys of the HTTP API: what is shown once, what is kept, and whether one fits the other.

A key is `sf_<id>_<secret>`. The record holds no secret: an HMAC-SHA256 of it under a salt of its own. A secret has 256
bits of chance, so the fast hash is enough; a stolen record opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

#: What a key looks like: its id and its secret.
KEY = re.compile(r"sf_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
ID_BYTES, SECRET_BYTES, SALT_BYTES = 6, 32, 16


class Scope(StrEnum):
    """What a key may do."""

    #: Submit batches, and steer those of its owner.
    SUBMIT = "submit"
    #: See the batches, jobs and pictures of its owner; workers, models and the queue.
    READ = "read"
    #: Everything, for every owner: drain workers, see metrics.
    ADMIN = "admin"


class KeyRecord(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True)

    id: str
    #: A name for people.
    name: str
    #: Whose batches it submits and sees.
    owner: str
    scopes: frozenset[Scope]
    #: Hexadecimal: the salt, and HMAC-SHA256(salt, secret).
    salt: str
    digest: str
    created_ms: int = 0

    @classmethod
    def make(cls, *, name: str, owner: str, scopes: frozenset[Scope], now_ms: int) -> tuple[Self, str]:
        """Return the record of a new key, and the key, which is known nowhere else."""
        key_id, secret, salt = (
            secrets.token_hex(ID_BYTES),
            secrets.token_urlsafe(SECRET_BYTES),
            secrets.token_hex(SALT_BYTES),
        )
        record = cls(
            id=key_id, name=name, owner=owner, scopes=scopes, salt=salt, digest=_digest(salt, secret), created_ms=now_ms
        )
        return record, f"sf_{key_id}_{secret}"

    def fits(self, secret: str) -> bool:
        """Whether a secret is this key's, in a time that tells nothing."""
        return hmac.compare_digest(self.digest, _digest(self.salt, secret))


def split_key(text: str) -> tuple[str, str] | None:
    """Return a key's id and secret, None for a text that is no key."""
    match = KEY.fullmatch(text)
    return (match[1], match[2]) if match else None


def _digest(salt: str, secret: str) -> str:
    return hmac.new(bytes.fromhex(salt), secret.encode(), hashlib.sha256).hexdigest()
