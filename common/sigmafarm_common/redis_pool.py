"""The one place that opens Redis: for the records, for Celery, by way of Sentinels or straight, with and without TLS.

A pool asks the Sentinels where the primary is at every new connection, and its connections to a server that has become
a replica are dropped: after a failover the next call finds the new primary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from sigmafarm_common.redis_address import RedisAddress

#: Seconds after which an idle connection is tried with PING before it is used.
HEALTH_CHECK_INTERVAL_S = 10
#: The shortest wait for one Sentinel of several, in seconds.
SENTINEL_MIN_S = 0.2

#: Makes a class of connections into one that also does something else.
Wrap = Callable[[type[Any]], type[Any]]


def open_pool(
    address: RedisAddress,
    *,
    timeout_s: float,
    connect_timeout_s: float | None = None,
    wrap: Wrap | None = None,
    **options: Any,
) -> redis.ConnectionPool:
    """Return a pool of connections, none of them open yet. No call is tried again by itself. `options` are redis-py's.

    `wrap` makes the class of its connections. A timeout bounds each reply, and a connect, unless that has its own.
    """
    connect_s = timeout_s if connect_timeout_s is None else connect_timeout_s
    kind = _connection_class(address)
    said: dict[str, Any] = {
        "connection_class": wrap(kind) if wrap else kind,
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_s,
        "health_check_interval": HEALTH_CHECK_INTERVAL_S,
        "retry": Retry(NoBackoff(), 0),
        **address.tls,
        **options,
    }
    if address.path:
        return redis.ConnectionPool(**said, path=address.path)
    said |= {"socket_connect_timeout": connect_s, "socket_keepalive": True}
    if address.master_name:
        return SentinelConnectionPool(address.master_name, _sentinels(address, connect_s), **said)
    ((host, port),) = address.nodes
    return redis.ConnectionPool(**said, host=host, port=port)


def _connection_class(address: RedisAddress) -> type[Any]:
    if address.path:
        return redis.UnixDomainSocketConnection
    if address.master_name:
        return SentinelManagedSSLConnection if address.has_tls else SentinelManagedConnection
    return redis.SSLConnection if address.has_tls else redis.Connection


def _sentinels(address: RedisAddress, timeout_s: float) -> Sentinel:
    """Return the Sentinels. All of them together take no longer than one call may, should they be frozen."""
    each_s = max(timeout_s / len(address.nodes), SENTINEL_MIN_S)
    return Sentinel(
        address.nodes,
        sentinel_kwargs={
            "socket_timeout": each_s,
            "socket_connect_timeout": each_s,
            "username": address.sentinel_username,
            "password": address.sentinel_password,
            "retry": Retry(NoBackoff(), 0),
            "ssl": address.has_tls,
            **address.tls,
        },
    )
