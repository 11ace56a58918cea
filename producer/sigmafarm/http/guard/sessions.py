"""A browser's sign-in: a signed cookie that names a key, and the token that its forms carry.

The cookie holds the key's id, an end and a number of chance, under an HMAC. The key is looked up at every request, so
revoking it ends its sessions. The signing secret lies in the data folder and nowhere in Redis: a stolen record opens
nothing. Several API processes share sessions if they share the file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sigmafarm_common.clock import Clock

#: How long a sign-in lasts.
SESSION_S = 24 * 3600
SECRET_FILE = "session.secret"
SECRET_BYTES = 32


@dataclass(frozen=True)
class Session:
    """What a cookie says: the key that signed in, and what its token is made of."""

    key_id: str
    nonce: str


class Sessions:
    """Makes and reads cookies and form tokens."""

    def __init__(self, secret: bytes, clock: Clock):
        self._secret, self._clock = secret, clock

    @classmethod
    def of(cls, data_dir: Path, clock: Clock) -> Self:
        """Return the sessions of a data folder; where it cannot be written, they end with the process."""
        try:
            return cls(_load_secret(data_dir), clock)
        except OSError:
            return cls(secrets.token_bytes(SECRET_BYTES), clock)

    def issue(self, key_id: str) -> str:
        """Return the cookie of a new sign-in."""
        said = f"{key_id}.{int(self._clock.wall_s()) + SESSION_S}.{secrets.token_hex(12)}"
        return f"{said}.{self._mac('session', said)}"

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie, None if it is none of ours or over."""
        said, _, mac = cookie.rpartition(".")
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), self._mac("session", said).encode()):
            return None
        key_id, end, nonce = said.split(".")
        return Session(key_id, nonce) if int(end) > self._clock.wall_s() else None

    def token(self, nonce: str) -> str:
        """Return what the forms of a session carry."""
        return self._mac("form", nonce)

    def is_token(self, nonce: str, token: str) -> bool:
        """Whether a form's token is that of the session, in a time that tells nothing."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token(nonce).encode())

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose}\0{text}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _load_secret(data_dir: Path) -> bytes:
    """Return the folder's secret, made now if there is none."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / SECRET_FILE
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        secret = path.read_bytes()
        return secret if len(secret) == SECRET_BYTES else secrets.token_bytes(SECRET_BYTES)
    with open(handle, "wb") as file:
        secret = secrets.token_bytes(SECRET_BYTES)
        file.write(secret)
    return secret
