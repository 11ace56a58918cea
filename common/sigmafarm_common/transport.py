"""kombu's Redis transport with one fault of celery 5.7 guarded: https://github.com/celery/celery/pull/10242.

When Redis restarts while a worker has jobs in flight, celery's consumer closes its connection a second time after
`collect()` has dropped the transport's client. kombu's channel then reads `self.connection.client.hostname` of a client
that is None, and the AttributeError ends the worker. Here the channel raises the connection error that it means, which
celery's consumer answers by connecting again. tests/common/test_transport.py says when upstream makes this needless.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError

#: The URL scheme under which kombu finds this transport: sigmafarm://host:6379/0, sigmafarm+socket:///path.
SCHEME = "sigmafarm"


class Channel(kombu_redis.Channel):
    """kombu's channel, which notices that its connection was dropped."""

    def _connparams(self, asynchronous: bool = False) -> Any:
        connection: Any = self.connection
        if connection is None or connection.client is None:
            raise RedisConnectionError("the channel's connection was closed while it was in use")
        return super()._connparams(asynchronous=asynchronous)


class Transport(kombu_redis.Transport):
    """kombu's Redis transport with that channel."""

    Channel = Channel


def register() -> None:
    """Make the scheme known to kombu. Saying it twice does nothing more."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:{Transport.__name__}"
