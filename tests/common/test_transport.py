"""The guard for celery 5.7's closed-channel fault, and whether upstream still needs it."""

from __future__ import annotations

import pytest
from kombu import Connection
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError

from sigmafarm_common import transport


def dropped_channel(scheme: str, redis_url: str) -> kombu_redis.Channel:
    """Return a channel whose transport has lost its client, as `Connection.collect` leaves it when Redis restarts."""
    transport.register()
    connection = Connection(redis_url.replace("redis://", f"{scheme}://"))
    channel = connection.channel()
    channel.connection.client = None
    return channel


def test_channel_whose_connection_was_dropped_raises_a_connection_error(redis_url: str) -> None:
    channel = dropped_channel(transport.SCHEME, redis_url)

    with pytest.raises(RedisConnectionError, match="closed while it was in use"):
        channel._connparams()


def test_upstream_still_needs_the_guard(redis_url: str) -> None:
    channel = dropped_channel("redis", redis_url)

    with pytest.raises(AttributeError):  # when this fails, kombu has mended it: remove sigmafarm_common.transport
        channel._connparams()
