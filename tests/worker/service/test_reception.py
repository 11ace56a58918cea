"""A worker that is told to take calls, and to take none, does what it was told last."""

from __future__ import annotations

import time

import redis

from tests.limits import until
from tests.worker.service.clerk import call, clerk

#: Orders that are given within one turn of the consumer's loop, or nearly.
MANY = 40
#: Seconds in which a consumer takes a call, if it takes any: its longest wait for one is a second.
TAKEN_S = 1.5


def say(client: redis.Redis, words: str) -> None:
    """Say something to the clerk, and wait until all of it was said."""
    before = client.llen("said")
    client.rpush("say", words)
    until(lambda: client.llen("said") > before, "it was said")


def test_of_orders_that_come_together_the_last_one_holds(redis_client: redis.Redis, redis_url: str) -> None:
    """Two that were given within a millisecond changed places: a worker that could store again took no job for ever."""
    with clerk(redis_url, "4", "0"):
        for turn in range(1, 6):
            say(redis_client, "pause resume " * MANY)
            call(redis_url, 1)
            redis_client.rpush("go", 1)
            until(lambda turn=turn: redis_client.llen("taken") == turn, f"call {turn} is taken")

        say(redis_client, "resume pause " * MANY)
        until(lambda: _is_left(redis_client, redis_url), "no call is taken any more")
        num = redis_client.llen("taken")
        say(redis_client, "resume")
        until(lambda: redis_client.llen("taken") > num, "what was left is taken")


def test_a_worker_that_is_paused_before_it_runs_takes_nothing(redis_client: redis.Redis, redis_url: str) -> None:
    call(redis_url, 1)
    with clerk(redis_url, "1", "0", "paused"):
        until(lambda: _are_connected(redis_client), "its consumer is connected")
        time.sleep(TAKEN_S)
        assert redis_client.llen("taken") == 0

        say(redis_client, "resume")
        until(lambda: redis_client.llen("taken") == 1, "the call is taken")


def _are_connected(client: redis.Redis) -> bool:
    """Whether the clerk's ear and its consumer are, beside this test."""
    return len(client.client_list()) >= 3


def _is_left(client: redis.Redis, redis_url: str) -> bool:
    """Whether a call lies in its queue: a consumer that works off what it had may take one more."""
    if not client.llen("render.m"):
        call(redis_url, 1)
        client.rpush("go", 1)
    time.sleep(TAKEN_S)
    return client.llen("render.m") == 1
