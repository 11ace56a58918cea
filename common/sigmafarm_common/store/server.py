"""The connection to Redis: its timeouts, and the translation of its errors into the farm's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from sigmafarm_common.config import Config, masked
from sigmafarm_common.errors import AccessDenied, InvalidSettings, StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

#: Seconds after which an idle connection is tried with PING before it is used.
HEALTH_CHECK_INTERVAL_S = 10


def connect(config: Config) -> redis.Redis:
    """Return a client of the configured server. Nothing is sent yet. Raises InvalidSettings for a URL that is none."""
    url = config.require_redis_url()
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=config.redis_timeout_s,
            socket_connect_timeout=config.redis_timeout_s,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            health_check_interval=HEALTH_CHECK_INTERVAL_S,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise InvalidSettings(f"SIGMAFARM_REDIS_URL is {masked(url)}: {error}") from None


def guarded(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Let a store's method speak the farm's errors, and try once more when a kept connection turns out to be dead.

    Every script is safe to say twice: where it matters its header says how, elsewhere the second call finds the work
    done and refuses. So the second try is safe even when only the reply was lost. A timeout is not tried again: a
    frozen server would double the wait.
    """

    @wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                return method(self, *args, **kwargs)
            except RedisConnectionError as error:
                if isinstance(error, (AuthenticationError, AuthorizationError)):
                    raise
                return method(self, *args, **kwargs)
        except RedisError as error:
            raise translated(error) from error

    return call


def translated(error: RedisError) -> Exception:
    """Return the farm's error for one of redis-py's."""
    is_refusal = isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError))
    if is_refusal or "ACL failure" in str(error):  # the latter: a script may run, but not everything in it
        return AccessDenied(f"Redis refuses our credentials ({error}): check user and password in SIGMAFARM_REDIS_URL")
    if isinstance(error, BusyLoadingError):
        return StoreUnavailable("Redis is still loading its data: try again")
    if isinstance(error, RedisTimeoutError) or str(error).startswith("BUSY "):
        return StoreUnavailable(f"Redis does not answer in time ({error}): is it frozen or overloaded? try again")
    if isinstance(error, RedisConnectionError):
        return StoreUnavailable(f"Redis is out of reach ({error}): start it, or check SIGMAFARM_REDIS_URL")
    if isinstance(error, (OutOfMemoryError, ReadOnlyError)) or "OOM" in str(error) or "MISCONF" in str(error):
        return StoreUnavailable(f"Redis takes no writes ({error}): give it memory or disk, then try again")
    return error
