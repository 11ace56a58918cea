"""What a Redis's errors mean to the farm: one of its own, with the cure.

What nobody thought of is unavailability too. Whatever a server answers, it has not done what was asked, the job is no
worse for it, and the same call may succeed later. Only a refusal of our user or its rights is said apart: no waiting
mends that.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    DataError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

from sigmafarm_common.errors import AccessDenied, SigmafarmError, SpoiledRecord, StoreUnavailable
from sigmafarm_common.store.refusals import newer_records

#: What a server says of a user who lacks a right, in words that no class of redis-py stands for: within a script, or
#: to a connection that did not log in.
REFUSALS = ("ACL failure", "The user executing the script", "NOPERM", "NOAUTH", "WRONGPASS")

#: What it says of a key of another type or shape, to a command or from within a script.
SPOILED = ("WRONGTYPE", "value is not an integer", "not a valid float", "attempt to ", "bad argument #")

#: What an answer means, by the classes of redis-py and by the server's words, the most telling first. {} is the answer.
READINGS: tuple[tuple[tuple[type[Exception], ...], tuple[str, ...], str], ...] = (
    ((BusyLoadingError,), (), "Redis is still loading its data: try again"),
    (
        (RedisTimeoutError,),
        ("BUSY Redis", "BUSY Valkey", "BUSY script", "UNKILLABLE"),
        "Redis does not answer in time ({}): is it frozen or overloaded? try again",
    ),
    ((), ("max number of clients",), "Redis takes no more clients ({}): raise its maxclients, then try again"),
    (
        (MasterDownError,),
        ("NOREPLICAS", "MASTERDOWN", "NOGOODSLAVE", "NOGOODREPLICA"),
        "Redis misses its replicas or its primary ({}): bring them back, then try again",
    ),
    (
        (MasterNotFoundError,),
        (),
        "no Sentinel names a primary ({}): check the Sentinels, and the name in SIGMAFARM_REDIS_URL, then try again",
    ),
    (
        (OutOfMemoryError, ReadOnlyError),
        ("OOM", "MISCONF", "READONLY", "read only replica"),
        "Redis takes no writes ({}): give it memory or disk, then try again",
    ),
    (
        (AskError, ClusterDownError, TryAgainError, ClusterCrossSlotError),
        ("CLUSTERDOWN", "TRYAGAIN", "CROSSSLOT", "MOVED "),
        "this Redis is part of a Cluster ({}), over which the farm's scripts cannot reach: name one that is not in "
        "SIGMAFARM_REDIS_URL",
    ),
    (
        (),
        ("unknown command",),
        "what answers is no Redis that the farm can use ({}): check SIGMAFARM_REDIS_URL; a Sentinel is named as "
        "sentinel://host:26379/name-of-the-primary",
    ),
    (
        (InvalidResponse, UnicodeDecodeError),
        (),
        "what answers does not speak Redis's protocol ({}): check SIGMAFARM_REDIS_URL",
    ),
    (
        (RedisConnectionError, OSError),
        (),
        "Redis is out of reach ({}): start it, or check SIGMAFARM_REDIS_URL",
    ),
)
#: What our own scripts say where a newer program wrote the records.
NEWER = re.compile(r"NEWERRECORDS (\d+)")
#: What is said of every other answer.
UNKNOWN = "Redis answers what the farm does not know ({}): look at its log, then try again"
#: The longest answer that is passed on.
MAX_ANSWER_CHARS = 300


@contextmanager
def translating() -> Generator[None]:
    """Let what redis-py raises leave as the farm's errors. A DataError stays: our own mistake, nothing was sent."""
    try:
        yield
    except DataError:
        raise
    except (RedisError, UnicodeDecodeError) as error:
        raise translated(error) from error


def translated(error: Exception) -> SigmafarmError:
    """Return the farm's error for one of redis-py's."""
    said = str(error)[:MAX_ANSWER_CHARS] or type(error).__name__
    if found := NEWER.search(said):
        return newer_records(int(found[1]))
    if is_refusal(error):
        return AccessDenied(
            f"Redis refuses our credentials ({said}): check user and password in SIGMAFARM_REDIS_URL; common/README.md "
            "has the rights that a user needs"
        )
    if is_about_a_record(error):
        return SpoiledRecord(f"a record in Redis was changed from outside ({said}): `sigmafarm check` names it")
    for classes, words, reading in READINGS:
        if isinstance(error, classes) or any(word in said for word in words):
            return StoreUnavailable(reading.format(said))
    return StoreUnavailable(UNKNOWN.format(said))


def is_about_a_record(error: Exception) -> bool:
    """Whether a server is well, and one key of it is not what the farm wrote."""
    return any(word in str(error) for word in SPOILED)


def is_refusal(error: Exception) -> bool:
    """Whether a server refuses who we are, or what our user asks of it."""
    is_known = isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError))
    return is_known or any(word in str(error) for word in REFUSALS)
