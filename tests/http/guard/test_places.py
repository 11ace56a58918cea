"""How many places there are, who may take them, and that they come back."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from sigmafarm import Config
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.crowd import HELD, Crowd, Kind
from sigmafarm.http.guard.places import Places, Share, raise_file_limit
from sigmafarm_common.errors import TooManyRequests
from sigmafarm_common.keys import Scope


def places(num_files: int, **settings: Any) -> Places:
    return Places.of(Config(**settings), num_files)


@pytest.mark.parametrize("num_files", [64, 128, 256, 1024, 4096, 65_536])
def test_what_is_held_at_once_leaves_files_for_all_else(num_files: int):
    made = places(num_files)

    assert made.connections + 2 * made.guests + made.bodies.total < num_files
    assert made.streams.total <= made.connections // 2
    assert made.streams.owner <= max(1, made.streams.total // 3)
    assert made.streams.key <= made.streams.owner
    assert made.requests.owner <= max(1, made.connections // 4)


def test_settings_say_less_but_never_more_than_the_files_allow():
    assert places(1024, max_connections=50).connections == 50
    assert places(1024, max_connections=10**6).connections == 640
    assert places(10_000, max_streams=90, max_owner_streams=8, max_key_streams=2).streams == Share(90, 8, 2)


@pytest.fixture
def _file_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_file_limit")
def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    num_open = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (num_open + 50, hard))

    num = raise_file_limit()

    assert num == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > num_open + 50
    assert raise_file_limit() == num


def request() -> Request:
    return Request({"type": "http", "headers": []})


def caller(owner: str = "ann", key: str = "a") -> Caller:
    return Caller(owner, frozenset({Scope.READ}), key)


def test_a_key_an_owner_and_all_together_have_so_many_streams_and_ends_give_them_back():
    crowd = Crowd(Places(100, 4, Share(100, 25, 25), Share(6, 4, 2), Share(4, 2, 2)))
    open_ones = [request() for _ in range(3)]
    for each, key in zip(open_ones, "aab", strict=True):
        crowd.take(each, caller(key=key), Kind.STREAM)

    with pytest.raises(TooManyRequests, match="key a has 2 streams open, the most at once"):
        crowd.take(request(), caller(key="a"), Kind.STREAM)
    crowd.take(request(), caller(key="b"), Kind.STREAM)
    with pytest.raises(TooManyRequests, match="owner ann has 4 streams open"):
        crowd.take(request(), caller(key="c"), Kind.STREAM)
    crowd.take(request(), caller("ben", ""), Kind.STREAM)
    crowd.take(request(), caller("ben", ""), Kind.STREAM)
    with pytest.raises(TooManyRequests, match="this server has 6 streams open"):
        crowd.take(request(), caller("cid", "z"), Kind.STREAM)
    crowd.give_back(open_ones[0].scope[HELD])
    crowd.take(request(), caller("cid", "z"), Kind.STREAM)
    assert crowd.num(Kind.STREAM) == 6


def test_a_request_takes_a_place_of_a_kind_once_and_a_refused_one_none():
    crowd = Crowd(Places(100, 4, Share(100, 1, 1), Share(1, 1, 1), Share(4, 2, 2)))
    one, other = request(), request()
    for _ in range(3):
        crowd.take(one, caller(), Kind.REQUEST)
    crowd.take(one, caller(), Kind.STREAM)

    with pytest.raises(TooManyRequests):
        crowd.take(other, caller(), Kind.REQUEST)

    assert (crowd.num(Kind.REQUEST), other.scope[HELD]) == (1, [])
    crowd.give_back(one.scope[HELD])
    crowd.give_back(one.scope[HELD])
    assert (crowd.num(Kind.REQUEST), crowd.num(Kind.STREAM)) == (0, 0)
