"""The store on Redis or Valkey. Every state change is one Lua script (store/lua/); this class only passes arguments.

What each key holds stands in common/README.md. Safe for threads. Every call is bounded by redis_timeout_s, and answers
a server that is away, frozen or full with StoreUnavailable.
"""

from __future__ import annotations

from sigmafarm_common.store.redis.adopting import RedisAdopting
from sigmafarm_common.store.redis.keeping import RedisKeeping
from sigmafarm_common.store.redis.watching import RedisWatching
from sigmafarm_common.store.redis.working import RedisWorking


class RedisStore(RedisKeeping, RedisWorking, RedisWatching, RedisAdopting):
    """The farm's records on one server. See Store for what each method promises; its parts are the redis_*.py."""
