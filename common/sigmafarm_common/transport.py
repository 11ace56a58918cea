"""kombu's Redis transport with two faults guarded.

The first is celery 5.7's: https://github.com/celery/celery/pull/10242. When Redis restarts while a worker has jobs in
flight, celery's consumer closes its connection a second time after `collect()` has dropped the transport's client.
kombu's channel then reads `self.connection.client.hostname` of a client that is None, and the AttributeError ends the
worker. Here the channel raises the connection error that it means, which celery's consumer answers by connecting again.
tests/common/test_transport.py says when upstream makes this needless.

The second is kombu's: what lies in a queue and is no message (no JSON, no properties) raises in the consumer, whose
worker then ends or connects again. Here it is dropped alone, and said.
"""

from __future__ import annotations

from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError

#: The URL scheme under which kombu finds this transport: sigmafarm://host:6379/0, sigmafarm+socket:///path.
SCHEME = "sigmafarm"


_log = structlog.get_logger("sigmafarm.transport")


class Channel(kombu_redis.Channel):
    """kombu's channel, which notices that its connection was dropped, and drops what is no message."""

    def _connparams(self, asynchronous: bool = False) -> Any:
        connection: Any = self.connection
        if connection is None or connection.client is None:
            raise RedisConnectionError("the channel's connection was closed while it was in use")
        return super()._connparams(asynchronous=asynchronous)

    def _brpop_read(self, **options: Any) -> Any:
        """Receive one message. True for one that was dropped, too: it is popped, and the next may be asked for."""
        try:
            return super()._brpop_read(**options)
        except (ValueError, KeyError, TypeError) as error:
            _log.error("message dropped: it is none of Celery's", error=f"{type(error).__name__}: {error}")
            return True


class Transport(kombu_redis.Transport):
    """kombu's Redis transport with that channel."""

    Channel = Channel


def register() -> None:
    """Make the scheme known to kombu. Saying it twice does nothing more."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:{Transport.__name__}"
