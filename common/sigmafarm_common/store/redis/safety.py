"""Whether the server keeps what it is given, asked at start-up and, now and then, by those who submit."""

from __future__ import annotations

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import UnsafeServer
from sigmafarm_common.finding import Grade
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Keyspace
from sigmafarm_common.store.redis.server_findings import read_server, server_findings, unsafe_findings
from sigmafarm_common.store.redis.stored_records import whole

#: For how long, in seconds, a server that was found safe is taken for it by those who submit.
SAFE_S = 10.0


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
        for finding in server_findings(read_server(self._redis.client)):
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
        for finding in unsafe_findings(read_server(self._redis.client)):
            raise UnsafeServer(finding.message)
        self._safe_until_s = now_s + SAFE_S
