"""The store on Redis or Valkey. Every state change is one Lua script (lua/), which the parts in redis/ run.

What each key holds stands in common/README.md. Safe for threads. Every call is bounded by redis_timeout_s, and answers
a server that is away, frozen or full with StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from redis import Redis

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.store.redis.adopting import Adopting
from sigmafarm_common.store.redis.glancing import Glancing
from sigmafarm_common.store.redis.keeping import Keeping
from sigmafarm_common.store.redis.keyring import Keyring
from sigmafarm_common.store.redis.keyspace import Keyspace
from sigmafarm_common.store.redis.lining import Lining
from sigmafarm_common.store.redis.live_previews import LivePreviews
from sigmafarm_common.store.redis.reading import Reading
from sigmafarm_common.store.redis.safety import Safety
from sigmafarm_common.store.redis.seats import Seats
from sigmafarm_common.store.redis.steering import Steering
from sigmafarm_common.store.redis.submitting import Submitting
from sigmafarm_common.store.redis.uploading import Uploading
from sigmafarm_common.store.redis.working import Working

S = TypeVar("S")

if TYPE_CHECKING:

    class Parts(
        Safety,
        Reading,
        Glancing,
        Lining,
        Submitting,
        Steering,
        LivePreviews,
        Seats,
        Keyring,
        Working,
        Keeping,
        Adopting,
        Uploading,
    ):
        """The methods of the store as its parts have them."""
else:
    Parts = object


def _made_of(*parts: type[object]) -> Callable[[type[S]], type[S]]:
    """Give a class the public methods of its parts: each is carried out by its one part of that kind."""

    def add_methods(store: type[S]) -> type[S]:
        for part in parts:
            for name, method in vars(part).items():
                if not name.startswith("_"):
                    assert name not in vars(store), f"two parts of the store have {name}"
                    setattr(store, name, _delegate(part, method))
        return store

    return add_methods


def _delegate(part: type[Any], method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: RedisStore, /, *args: Any, **kwargs: Any) -> Any:
        return method(self.parts[part], *args, **kwargs)

    return call


@_made_of(
    Safety,
    Reading,
    Glancing,
    Lining,
    Submitting,
    Steering,
    LivePreviews,
    Seats,
    Keyring,
    Working,
    Keeping,
    Adopting,
    Uploading,
)
class RedisStore(Parts):
    """The farm's records on one server. See Store for what each method promises, and its part for how."""

    def __init__(
        self,
        config: Config,
        client: Redis | None = None,
        *,
        now_ms: Callable[[], int] | None = None,
        clock: Clock | None = None,
    ):
        self.redis = redis = Keyspace(config, client, now_ms=now_ms)
        #: The connection itself, for those who look at the server.
        self.client: Any = redis.client
        reading, safety = Reading(redis), Safety(redis, clock or SystemClock())
        others = (Glancing, Lining, LivePreviews, Seats, Keyring, Working, Keeping, Adopting, Uploading)
        alone = (part(redis) for part in others)
        parts = (safety, reading, Submitting(redis, reading, safety), Steering(redis, reading), *alone)
        self.parts: Mapping[type, Any] = {type(part): part for part in parts}

    def close(self) -> None:
        """Let go of the connections. May be called again; who asks on has new ones."""
        self.client.close()
