"""What the parts of the store share: the connection, the scripts, the names of keys, the server's time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import ResponseError

from sigmafarm_common.config import Config
from sigmafarm_common.store.redis.connection import connect
from sigmafarm_common.store.redis.scripts import Scripts

#: Jobs that one call of a script moves at most (dispatch, cancel, retry, take back), and that one removes (discard,
#: forget): a few milliseconds each, because nobody else is answered meanwhile.
JOBS_PER_CALL = 100
REMOVALS_PER_CALL = 500

T = TypeVar("T")


class Keyspace:
    """The farm's records on one server, as far as every part of the store needs them."""

    def __init__(self, config: Config, client: Redis | None = None, *, now_ms: Callable[[], int] | None = None):
        self.config = config
        # Any: redis-py's annotations speak for its blocking and its async client at once, and fit neither.
        self.client: Any = client or connect(config)
        self.prefix = config.namespace + ":"
        self._scripts = Scripts(self.client, namespace=config.namespace, event_limit=config.event_limit, now_ms=now_ms)

    def run(self, script: str, *args: Any) -> Any:
        """Run a script of store/lua/ and return what it returns."""
        return self._scripts.run(script, *args)

    def ask(self, command: str, *args: Any, **options: Any) -> Any:
        """Read from a key; None where it is of another type: a hand made it, and nothing of the farm stands there."""
        try:
            return getattr(self.client, command)(*args, **options)
        except ResponseError as error:
            return known_good(error)

    def tell(self, command: str, key: str, *args: Any, **options: Any) -> Any:
        """Write to a key. What a hand made of another type there is put aside, as scripts do."""
        try:
            return getattr(self.client, command)(key, *args, **options)
        except ResponseError as error:
            known_good(error)
            self.client.rename(key, self.key("spoiled", key.removeprefix(self.prefix)))
            return getattr(self.client, command)(key, *args, **options)

    def answers(self, pipeline: Any) -> list[Any]:
        """Read what a pipeline asks, with None for each key of another type."""
        return [known_good(answer) for answer in pipeline.execute(raise_on_error=False)]

    def key(self, *parts: str) -> str:
        return self.prefix + ":".join(parts)

    @property
    def alive_ms(self) -> int:
        return in_ms(2 * self.config.lease_s)

    def now_ms(self) -> int:
        seconds, micros = self.client.time()
        return self._scripts.now_ms() if self._scripts.now_ms else seconds * 1000 + micros // 1000


class Part:
    """Some of the store's methods, on the records that all of them share."""

    def __init__(self, redis: Keyspace):
        self._redis = redis


def known_good(answer: Any) -> Any:
    """Return an answer, None for a key of another type. Raises every other error."""
    if not isinstance(answer, Exception):
        return answer
    if str(answer).startswith("WRONGTYPE"):
        return None
    raise answer


def in_ms(seconds: float) -> int:
    """Return seconds as whole milliseconds."""
    return round(seconds * 1000)


def chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """Return a sequence in pieces."""
    return (items[at : at + size] for at in range(0, len(items), size))
