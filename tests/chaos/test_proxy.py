"""The proxy's own promise: what it answers itself keeps the order of a connection's answers."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.proxy import Mode, Proxy
from tests.chaos.resp import Messages, command_of
from tests.redis_server import RedisServer


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_messages_are_cut_where_they_end_however_the_bytes_come(size: int) -> None:
    whole = [
        b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n",
        b"%1\r\n+a\r\n*1\r\n:1\r\n",
        b"$-1\r\n",
        b"_\r\n",
        b"-ERR no\r\n",
        b"*-1\r\n",
    ]
    stream, messages = b"".join(whole), Messages()

    found = [m for at in range(0, len(stream), size) for m in messages.feed(stream[at : at + size])]

    assert found == whole
    assert command_of(whole[0]) == "GET"


@pytest.mark.parametrize("protocol", [2, 3])
def test_refused_requests_never_arrive_and_answers_keep_their_order(server: RedisServer, protocol: int) -> None:
    proxy = Proxy(server.port, seed=7)
    proxy.refuser.share = 0.5
    with (
        redis.Redis(port=proxy.port, protocol=protocol, retry=Retry(NoBackoff(), 0)) as client,
        server.client() as direct,
    ):
        proxy.mode = Mode.REFUSE
        done = 0
        for n in range(200):
            try:
                with client.pipeline(transaction=bool(n % 2)) as pipe:
                    pipe.incr("n")
                    pipe.get("n")
                    pipe.echo(f"{n}")
                    assert pipe.execute()[1:] == [b"%d" % (done + 1), b"%d" % n]
                done += 1
            except redis.RedisError:
                pass
        proxy.mode = Mode.PASS
        assert (int(client.get("n") or 0), int(direct.get("n") or 0)) == (done, done)
    proxy.close()
    assert 20 < done < 180
    assert proxy.refuser.num_refused >= 200 - done
