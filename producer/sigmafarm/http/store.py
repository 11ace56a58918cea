"""The store as the API asks it: an answer within two seconds, also when Redis is away or frozen.

The first call that runs into the timeout finds out; those that come within the next second are refused at once, so that
a frozen server does not eat a thread a request.
"""

from __future__ import annotations

from sigmafarm_common.config import Config
from sigmafarm_common.store.redis_store import RedisStore

#: The longest that one call of the API waits for Redis.
API_TIMEOUT_S = 1.5


def open_store(config: Config) -> RedisStore:
    """Return the farm's store with the API's patience. Raises StoreUnavailable where no farm is named."""
    return RedisStore(config.replaced(redis_timeout_s=min(config.redis_timeout_s, API_TIMEOUT_S)))
