"""The connection to Redis, and how a store's method uses it: in the farm's errors, once more where that is safe."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from sigmafarm_common.config import Config
from sigmafarm_common.redis_pool import Wrap, open_pool
from sigmafarm_common.store.redis.redis_errors import is_refusal, translating

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

#: How often a call is said whose scripts the server has forgotten.
SCRIPT_TRIES = 3


def connect(config: Config, *, wrap: Wrap | None = None) -> redis.Redis:
    """Return a client of the configured server. Nothing is sent yet. `wrap` makes the class of its connections."""
    address = config.redis_address()
    # Bytes that are no text are somebody's hand: they must not make everything beside them unreadable.
    texts: dict[str, Any] = {"decode_responses": True, "encoding_errors": "backslashreplace"}
    return redis.Redis.from_pool(open_pool(address, timeout_s=config.redis_timeout_s, wrap=wrap, **texts))


def guarded(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Let a store's method speak the farm's errors, and try once more when a kept connection turns out to be dead.

    Every script is safe to say twice: where it matters its header says how, elsewhere the second call finds the work
    done and refuses. So the second try is safe even when only the reply was lost. A timeout is not tried again: a
    frozen server would double the wait.
    """

    @wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        with translating():
            for num_tries in range(1, SCRIPT_TRIES + 1):
                try:
                    return method(self, *args, **kwargs)
                except NoScriptError:  # forgotten between its loading and its call: the next try loads it
                    if num_tries == SCRIPT_TRIES:
                        raise
                except RedisConnectionError as error:
                    if num_tries > 1 or is_refusal(error):
                        raise
            raise AssertionError("the last try returns or raises")

    return call
