"""The doubles' own test: the server that the suites stand on does what its name says."""

from pathlib import Path

import redis

from tests.redis_server import RedisServer


def test_a_restart_after_a_kill_keeps_what_the_log_holds(tmp_path: Path):
    server = RedisServer(tmp_path, has_aof=True, options=("--appendfsync", "always"))
    server.start()
    server.client().set("a", "1")

    server.kill()
    server.start()

    assert server.client().get("a") == "1"
    server.stop()


def test_each_test_gets_an_empty_server(redis_client: redis.Redis):
    assert redis_client.dbsize() == 0
