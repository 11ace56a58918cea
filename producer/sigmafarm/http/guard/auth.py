"""Who calls: a key in `Authorization: Bearer`, a browser's session, or anybody on a loopback without keys.

On loopback no key is needed until there is one. Then, and at any other address, every request needs one: its owner and
its scopes come from the record, never from the request. Pages of other sites can make a browser send requests here: so
without a key the Host must be loopback's (DNS rebinding), and what changes something must not come from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from anyio import to_thread
from fastapi import Request

from sigmafarm.http.guard.origin import check_host, check_same_site, is_loopback
from sigmafarm.http.guard.sessions import Sessions
from sigmafarm_common.clock import Clock
from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidSettings, NoKey, NotAllowed, TooManyRequests
from sigmafarm_common.keys import KeyRecord, Scope, split_key
from sigmafarm_common.store.protocol import KeySide
from sigmafarm_common.validation import shown

#: The cookie of a browser's session.
COOKIE = "sigmafarm_session"
#: Methods that change nothing.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: For how long a process remembers whether there is any key: a first one is asked for after that.
HAS_KEYS_S = 1.0


@dataclass(frozen=True)
class Caller:
    """Who calls, and what for."""

    owner: str
    scopes: frozenset[Scope]
    #: The key; empty where none is needed.
    key_id: str = ""
    #: What the tokens of forms are made of; empty for a call without a browser's session.
    nonce: str = ""

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def sees_only(self) -> str | None:
        """The owner whose things are shown; None for those of all."""
        return None if self.is_admin else self.owner

    def may(self, scope: Scope) -> bool:
        return self.is_admin or scope in self.scopes

    def may_see(self, owner: str) -> bool:
        return self.is_admin or owner == self.owner

    def lists(self, owner: str) -> str | None:
        """Return whose things a list shows where an owner's are asked for (empty: any); None for those of all. Raises
        NotAllowed for another's."""
        if owner and not self.may_see(owner):
            raise NotAllowed(f"owner is {shown(owner)}: only a key with scope {Scope.ADMIN} lists what is another's")
        return owner or self.sees_only


class Gate:
    """Lets callers in, or says why not."""

    def __init__(
        self,
        config: Config,
        store: KeySide,
        sessions: Sessions,
        clock: Clock,
    ):
        self._config, self._store, self._sessions, self._clock = config, store, sessions, clock
        self._is_loopback = is_loopback(config.http_host)
        self._has_keys, self._known_until_s = True, 0.0

    def check_bind(self) -> None:
        """Raise InvalidSettings for an address that others reach while there is no key."""
        if not self._is_loopback and not self._store.keys():
            raise InvalidSettings(
                f"SIGMAFARM_HTTP_HOST is {self._config.http_host}: others reach that, and there is no key yet; make "
                "one with `sigmafarm keys add NAME --scope admin`, or listen on 127.0.0.1"
            )

    async def caller(self, request: Request) -> Caller:
        """Return who calls. Raises NoKey, NotAllowed, TooManyRequests, StoreUnavailable."""
        if not await self.needs_key():
            check_host(request)
            if request.method not in SAFE_METHODS:
                check_same_site(request)
            return Caller(self._config.owner, frozenset(Scope))
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await to_thread.run_sync(self._by_key, text.strip())
        if cookie := request.cookies.get(COOKIE):
            return await self._by_session(request, cookie)
        raise NoKey("this farm asks for a key: send `Authorization: Bearer sf_...`; `sigmafarm keys add` makes one")

    async def needs_key(self) -> bool:
        """Whether there is a key, or others reach this address."""
        if not self._is_loopback:
            return True
        if self._clock.monotonic_s() >= self._known_until_s:
            self._has_keys = bool(await to_thread.run_sync(self._store.keys))
            self._known_until_s = self._clock.monotonic_s() + HAS_KEYS_S
        return self._has_keys

    async def is_let_in(self, caller: Caller) -> bool:
        """Whether a caller whose request goes on, such as a stream, still may: its key may be revoked by now."""
        if caller.key_id:
            return await to_thread.run_sync(self._store.key, caller.key_id) is not None
        return not await self.needs_key()

    def record_of(self, text: str) -> KeyRecord:
        """Return the record of a key that is shown whole. Raises NoKey."""
        parts = split_key(text)
        record = self._store.key(parts[0]) if parts else None
        if parts is None or record is None or not record.fits(parts[1]):
            raise NoKey("this key is none of this farm's (any more): `sigmafarm keys add` makes another")
        return record

    def _by_key(self, text: str) -> Caller:
        record = self.record_of(text)
        self._spend(record)
        return Caller(record.owner, record.scopes, record.id)

    def _spend(self, record: KeyRecord) -> None:
        per_s = self._config.rate_per_s
        if not per_s:
            return
        wait_s = self._store.spend(f"requests:{record.id}", per_s=per_s, burst=self._config.rate_burst)
        if wait_s > 0:
            raise TooManyRequests(
                f"key {record.id} makes more than {per_s:g} requests a second: come back in {wait_s:.2f} s", wait_s
            )

    async def _by_session(self, request: Request, cookie: str) -> Caller:
        session = self._sessions.read(cookie)
        record = await to_thread.run_sync(self._store.key, session.key_id) if session else None
        if session is None or record is None:
            raise NoKey("this sign-in is over: sign in again")
        if request.method not in SAFE_METHODS:
            check_same_site(request, is_proof_needed=True)
        return Caller(record.owner, record.scopes, record.id, session.nonce)


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raise NotAllowed for a caller whose key lacks the scope."""
    if not caller.may(scope):
        has = ", ".join(sorted(caller.scopes)) or "none"
        raise NotAllowed(f"this needs a key with scope {scope}: key {caller.key_id} has {has}")
