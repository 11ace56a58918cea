"""The guards of the transport, and whether upstream still needs them."""

from __future__ import annotations

import pytest
import redis
from kombu import Connection, Queue
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError

from sigmafarm_common import transport
from sigmafarm_common.redis_address import parse_redis_url
from tests.limits import LIMIT_S

#: What a hand or another program may leave in a queue.
RUBBISH = (b"rubbish", b"\xff\xfe", b"{}", b"[]", b"null", b'{"body": "x", "headers": {}}')


def connected(redis_url: str, scheme: str = transport.SCHEME) -> Connection:
    transport.register()
    options = {"address": parse_redis_url(redis_url)}
    return Connection(redis_url.replace("redis://", f"{scheme}://"), transport_options=options)


def dropped_channel(scheme: str, redis_url: str) -> kombu_redis.Channel:
    """Return a channel whose transport has lost its client, as `Connection.collect` leaves it when Redis restarts."""
    connection = connected(redis_url, scheme)
    channel = connection.channel()
    channel.connection.client = None
    return channel


def test_channel_whose_connection_was_dropped_raises_a_connection_error(redis_url: str) -> None:
    channel = dropped_channel(transport.SCHEME, redis_url)

    with pytest.raises(RedisConnectionError, match="closed while it was in use"):
        channel._get_pool()


def test_upstream_still_needs_the_guard(redis_url: str) -> None:
    channel = dropped_channel("redis", redis_url)

    with pytest.raises(
        AttributeError
    ):  # when this fails, kombu has mended it: remove the guard in sigmafarm_common.transport
        channel._get_pool()


def test_rubbish_in_a_queue_is_dropped_and_the_message_behind_it_arrives(
    redis_client: redis.Redis, redis_url: str
) -> None:
    received: list[object] = []
    redis_client.lpush("queue", *RUBBISH)
    with connected(redis_url) as connection:
        connection.Producer().publish("a job", routing_key="queue", declare=[Queue("queue")])
        with connection.Consumer(
            [Queue("queue")], callbacks=[lambda body, message: received.append(body)], no_ack=True
        ):
            while not received:
                connection.drain_events(timeout=LIMIT_S)

    assert received == ["a job"]
