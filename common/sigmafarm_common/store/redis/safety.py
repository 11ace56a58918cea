"""Whether the server keeps what it is given, asked at start-up and, now and then, by those who submit."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

from redis.exceptions import ResponseError

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import StoreUnavailable, UnsafeServer
from sigmafarm_common.finding import Finding, Grade
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.disk_watch import LOOK_S, DiskWatch
from sigmafarm_common.store.redis.keyspace import Keyspace, in_ms
from sigmafarm_common.store.redis.redis_errors import is_refusal
from sigmafarm_common.store.redis.server_findings import (
    ServerFacts,
    answers_too_soon,
    durability_findings,
    read_server,
    server_findings,
    unsafe_findings,
)
from sigmafarm_common.store.redis.stored_records import whole

#: For how long, in seconds, a server that was found safe is taken for it by those who submit.
SAFE_S = 10.0
#: The longest that a submit waits for the server's disk; one that syncs every second needs up to two.
DISK_S = 4.0


class Safety:
    """Refuses a server that would lose jobs by itself: it evicts, it is a replica, a Cluster or too old."""

    def __init__(self, redis: Keyspace, clock: Clock):
        self._redis, self._clock = redis, clock
        self._safe_until_s = 0.0

    @guarded
    def check(self) -> None:
        """Raise UnsafeServer, and NewerRecords where a newer program wrote the records. From here on older programs are
        refused."""
        self._redis.client.ping()
        facts = read_server(self._redis.client)
        for finding in (*server_findings(facts), *self._durability(facts)):
            if finding.grade is Grade.FAIL:
                raise UnsafeServer(finding.message)
            if finding.grade is Grade.WARN:
                import structlog  # brings a thirtieth of a second, for a server that is as it should be in vain

                structlog.get_logger("sigmafarm.store").warning(finding.message)
        self._redis.run("note_schema")

    @guarded
    def records_version(self) -> int:
        """Return the version of the records as it is noted, 0 where no farm was started yet."""
        return whole(self._redis.ask("get", self._redis.key("schema")))

    @guarded
    def require_safe_server(self) -> None:
        """Raise UnsafeServer for one that would lose jobs by itself. It is asked at most every SAFE_S."""
        if (now_s := self._clock.monotonic_s()) < self._safe_until_s:
            return
        facts = read_server(self._redis.client)
        for finding in (*unsafe_findings(facts), *self._durability(facts)):
            raise UnsafeServer(finding.message)
        self._safe_until_s = now_s + SAFE_S

    @guarded
    def wait_for_disk(self) -> None:
        if not self._redis.config.durable_submit:
            return
        end_s = self._clock.monotonic_s() + DISK_S
        while not self._is_said_to_be_on_disk():
            _refuse_late(self._clock.monotonic_s() >= end_s)
        if answers_too_soon(read_server(self._redis.client)):
            self._watch_disk(end_s)

    def _is_said_to_be_on_disk(self) -> bool:
        wait_s = self._redis.config.redis_timeout_s / 2  # an answer that takes longer counts as none
        pipeline = self._redis.client.pipeline(transaction=False)
        pipeline.set(self._redis.key("disk"), 1)  # it answers for what its own connection wrote, and all before that
        pipeline.execute_command("WAITAOF", 1, 0, in_ms(wait_s))
        *_, answer = pipeline.execute(raise_on_error=False)
        if isinstance(answer, ResponseError) and not is_refusal(answer):
            raise UnsafeServer(f"Redis does not tell what is on its disk ({answer}); unset SIGMAFARM_DURABLE_SUBMIT")
        if isinstance(answer, Exception):
            raise answer
        return whole(answer[0]) >= 1

    def _watch_disk(self, end_s: float) -> None:
        """Wait until the disk has all that is written by now, asking as disk_watch.py says."""
        watch, pause = DiskWatch(), Event()
        try:
            while not watch.is_on_disk(self._redis.client.info("persistence"), self._clock.monotonic_s()):
                _refuse_late(self._clock.monotonic_s() >= end_s)
                self._clock.wait(pause, LOOK_S)
        except KeyError as error:
            raise UnsafeServer(
                f"Redis does not tell what is on its disk (no {error} in its INFO); unset SIGMAFARM_DURABLE_SUBMIT"
            ) from None

    def _durability(self, facts: ServerFacts) -> Iterator[Finding]:
        return durability_findings(facts) if self._redis.config.durable_submit else iter(())


def _refuse_late(is_late: bool) -> None:
    if is_late:
        raise StoreUnavailable(
            f"what was submitted is accepted, but Redis has not written it to its disk within {DISK_S} s: see its log "
            "and its disk; the same idempotency key again asks for the same batch, and waits again"
        )
