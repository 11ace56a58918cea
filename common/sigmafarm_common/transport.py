"""kombu's Redis transport on the farm's own pools, with two faults guarded.

The first is celery 5.7's: https://github.com/celery/celery/pull/10242. When Redis restarts while a worker has jobs in
flight, celery's consumer closes its connection a second time after `collect()` has dropped the transport's client.
kombu's channel then reads `self.connection.client.hostname` of a client that is None, and the AttributeError ends the
worker. Here the channel raises the connection error that it means, which celery's consumer answers by connecting again.
tests/common/test_transport.py says when upstream makes this needless.

The second is kombu's: what lies in a queue and is no message (no JSON, no properties) raises in the consumer, whose
worker then ends or connects again. Here it is dropped alone, and said.

kombu never sees a Redis URL: the transport option `address` holds its parts, and redis_pool.py opens what they name. A
log-in that is refused raises AccessDenied, which kombu does not take for an outage.
"""

from __future__ import annotations

from queue import Empty
from typing import TYPE_CHECKING, Any

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from sigmafarm_common.redis_address import RedisAddress
from sigmafarm_common.redis_pool import open_pool
from sigmafarm_common.store.redis.redis_errors import is_refusal, translated

#: The URL scheme under which kombu finds this transport. What follows it is a name for logs.
SCHEME = "sigmafarm"

_log = structlog.get_logger("sigmafarm.transport")


class Channel(kombu_redis.Channel):
    """kombu's channel, which opens what the address names, notices that its connection was dropped, and drops what is
    no message."""

    #: Where the server is; kombu sets it from the transport options.
    address: RedisAddress
    socket_timeout: float
    socket_connect_timeout: float
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "address")

    def __init__(self, *args: Any, **kwargs: Any):
        try:
            super().__init__(*args, **kwargs)
        except RedisError as error:
            if is_refusal(error):
                raise translated(error) from error
            raise

    def _get_pool(self, asynchronous: bool = False) -> Any:
        connection: Any = self.connection
        if connection is None or connection.client is None:
            raise RedisConnectionError("the channel's connection was closed while it was in use")
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=self.address.db)
        pool = open_pool(
            self.address,
            timeout_s=self.socket_timeout,
            connect_timeout_s=self.socket_connect_timeout,
            health_check_interval=self.health_check_interval,
            max_connections=self.max_connections,
            wrap=self._add_hearing if asynchronous else None,
        )
        self._keep_sentinels(getattr(pool, "sentinel_manager", None), asynchronous=asynchronous)
        return pool

    def _keep_sentinels(self, sentinels: Any, *, asynchronous: bool) -> None:
        """Let kombu close the connections to the Sentinels with its others."""
        if asynchronous:
            self._async_sentinel_manager = sentinels
        else:
            self._sentinel_manager = sentinels

    def _add_hearing(self, connection_class: type[Any]) -> type[Any]:
        """Return a class of connections that tell this channel when they are cut, as kombu's event loop needs it."""
        channel: Any = self
        base: type[Any] = object if TYPE_CHECKING else connection_class

        class Heard(base):
            def disconnect(self, *args: Any, **kwargs: Any) -> None:
                super().disconnect(*args, **kwargs)
                if channel._registered:
                    channel._on_connection_disconnect(self)

        return Heard

    def _brpop_read(self, **options: Any) -> Any:
        """Receive one message. True for one that was dropped, too: it is popped, and the next may be asked for."""
        try:
            answer = super()._brpop_read(**options)
            self.connection.has_read = True
            return answer
        except Empty:
            self.connection.has_read = True
            raise
        except (ValueError, KeyError, TypeError) as error:
            _log.error("message dropped: it is none of Celery's", error=f"{type(error).__name__}: {error}")
            return True


class Transport(kombu_redis.Transport):
    """kombu's Redis transport with that channel."""

    Channel = Channel
    #: Whether the server has let us look for a message, if only in vain.
    has_read = False


def register() -> None:
    """Make the scheme known to kombu. Saying it twice does nothing more."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:{Transport.__name__}"
