"""What the parts of the Redis store share: the connection, the scripts, the names of keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import structlog
from redis import Redis
from redis.exceptions import ResponseError

from sigmafarm_common.config import Config
from sigmafarm_common.doctor.finding import Grade
from sigmafarm_common.doctor.server import read_server, server_findings, unsafe_findings
from sigmafarm_common.errors import UnsafeServer
from sigmafarm_common.store.redis.connection import connect, guarded
from sigmafarm_common.store.redis.scripts import Scripts

#: Jobs that one call of a script moves at most (dispatch, cancel, retry, take back), and that one removes (discard,
#: forget): a few milliseconds each, because nobody else is answered meanwhile.
JOBS_PER_CALL = 100
REMOVALS_PER_CALL = 500
#: What a script answers to what would be more than its owner may have open.
QUOTA = -3

#: For how long, in seconds, a server that was found safe is taken for it by those who submit.
SAFE_S = 10.0

T = TypeVar("T")

_log = structlog.get_logger("sigmafarm.store")


class RedisPart:
    """The farm's records on one server, as far as every part of the store needs them."""

    def __init__(self, config: Config, client: Redis | None = None, *, now_ms: Callable[[], int] | None = None):
        self._config = config
        # Any: redis-py's annotations speak for its blocking and its async client at once, and fit neither.
        self.client: Any = client or connect(config)
        self._prefix = config.namespace + ":"
        self._safe_until_s = 0.0
        self._scripts = Scripts(self.client, namespace=config.namespace, event_limit=config.event_limit, now_ms=now_ms)

    @guarded
    def check(self) -> None:
        """Ask whether the server answers and keeps what it is given. Raises UnsafeServer for one that would lose jobs
        by itself (it evicts, it is a replica, a Cluster or too old), and logs what may lose jobs when it crashes."""
        self.client.ping()
        for finding in server_findings(read_server(self.client)):
            if finding.grade is Grade.FAIL:
                raise UnsafeServer(finding.message)
            if finding.grade is Grade.WARN:
                _log.warning(finding.message)

    @guarded
    def require_safe_server(self) -> None:
        """Raise UnsafeServer for one that would lose jobs by itself. It is asked at most every SAFE_S."""
        if (now_s := time.monotonic()) < self._safe_until_s:
            return
        for finding in unsafe_findings(read_server(self.client)):
            raise UnsafeServer(finding.message)
        self._safe_until_s = now_s + SAFE_S

    def _ask(self, command: str, *args: Any, **options: Any) -> Any:
        """Read from a key; None where it is of another type: a hand made it, and nothing of the farm stands there."""
        try:
            return getattr(self.client, command)(*args, **options)
        except ResponseError as error:
            return known_good(error)

    def _tell(self, command: str, key: str, *args: Any, **options: Any) -> Any:
        """Write to a key. What a hand made of another type there is put aside, as scripts do."""
        try:
            return getattr(self.client, command)(key, *args, **options)
        except ResponseError as error:
            known_good(error)
            self.client.rename(key, self._key("spoiled", key.removeprefix(self._prefix)))
            return getattr(self.client, command)(key, *args, **options)

    def _answers(self, pipeline: Any) -> list[Any]:
        """Read what a pipeline asks, with None for each key of another type."""
        return [known_good(answer) for answer in pipeline.execute(raise_on_error=False)]

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    @property
    def _alive_ms(self) -> int:
        return in_ms(2 * self._config.lease_s)

    def _now_ms(self) -> int:
        seconds, micros = self.client.time()
        return self._scripts.now_ms() if self._scripts.now_ms else seconds * 1000 + micros // 1000


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
