"""The store as the API asks it: an answer within two seconds, also when Redis is away or frozen.

A call waits at most API_TIMEOUT_S. Whoever runs into that trips a breaker: for REST_S all other calls are refused at
once, then one is let through to see whether the server is back. So a frozen server costs a thread or two, and not one
for every request that comes meanwhile.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from redis.exceptions import TimeoutError as RedisTimeoutError

from sigmafarm_common.clock import Clock
from sigmafarm_common.config import Config
from sigmafarm_common.store.redis.connection import connect
from sigmafarm_common.store.redis_store import RedisStore

#: The longest that one call of the API waits for Redis.
API_TIMEOUT_S = 1.5
#: How long calls are refused after one that timed out.
REST_S = 1.0


def open_store(config: Config, clock: Clock) -> RedisStore:
    """Return the farm's store with the API's patience. Raises StoreUnavailable where no farm is named."""
    patient = config.replaced(redis_timeout_s=min(config.redis_timeout_s, API_TIMEOUT_S))
    breaker = Breaker(clock)
    return RedisStore(patient, connect(patient, wrap=lambda kind: watched(kind, breaker)))


class Breaker:
    """Remembers that the server did not answer. Safe for threads."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._lock = threading.Lock()
        self._is_tripped = False
        self._next_try_s = 0.0
        #: The thread that was let through to try.
        self._trier = 0

    def check(self) -> None:
        """Raise a timeout at once while the server is taken for frozen, but for one thread that tries again."""
        if not self._is_tripped:
            return
        with self._lock:
            me, now_s = threading.get_ident(), self._clock.monotonic_s()
            if not self._is_tripped or me == self._trier:
                return
            if now_s < self._next_try_s:
                raise RedisTimeoutError("it did not answer a moment ago")
            self._trier, self._next_try_s = me, now_s + API_TIMEOUT_S + REST_S

    def trip(self) -> None:
        """Take note of a call without an answer."""
        with self._lock:
            self._is_tripped, self._trier = True, 0
            self._next_try_s = self._clock.monotonic_s() + REST_S

    def reset(self) -> None:
        """Take note of an answer."""
        if self._is_tripped:
            with self._lock:
                self._is_tripped, self._trier = False, 0


def watched(connection_class: type[Any], breaker: Breaker) -> type[Any]:
    """Return a class of connections that ask the breaker before they send, and tell it what came of it."""
    base: type[Any] = object if TYPE_CHECKING else connection_class

    class Watched(base):
        def connect(self) -> None:
            breaker.check()
            try:
                super().connect()
            except RedisTimeoutError:
                breaker.trip()
                raise

        def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
            breaker.check()
            super().send_packed_command(*args, **kwargs)

        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            try:
                answer = super().read_response(*args, **kwargs)
            except RedisTimeoutError:
                breaker.trip()
                raise
            breaker.reset()
            return answer

    return Watched
