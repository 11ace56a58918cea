"""What jobs said of themselves, on a server that no fault meets, and what follows for all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.queues.apps import work
from tests.redis_server import RedisServer

#: A job is late when it was done so many seconds after it was first begun, and not in TASK_S.
LATE_S = 15.0


@dataclass(frozen=True)
class Outcome:
    """What became of the jobs. Seconds."""

    num_jobs: int
    #: Jobs that were not done when patience ended.
    num_lost: int
    #: Jobs that were done more than once.
    num_doubled: int
    #: Jobs that were done more than LATE_S after they were first begun.
    num_late: int
    #: Work that was begun and came to nothing, or to the same once more: a job of TASK_S seconds each, at most.
    num_wasted: int
    #: From the first submit to the last job done; None where some never were.
    seconds: float | None
    #: Of the pauses between two jobs that were done, the longest: how long nothing came out.
    longest_gap_s: float

    def said(self) -> dict[str, Any]:
        return asdict(self)


class Ledger:
    """Reads what work.py writes."""

    def __init__(self, folder: Path):
        self.server = RedisServer(folder)
        self.server.start()
        self._client = self.server.client()

    @property
    def num_done(self) -> int:
        return self._client.hlen(work.DONE)

    def outcome(self, num_jobs: int, began_s: float) -> Outcome:
        """Return what became of the jobs that were submitted from `began_s` (seconds since 1970) on."""
        done = {job: int(n) for job, n in self._client.hgetall(work.DONE).items()}
        num_begun = sum(int(n) for n in self._client.hvals(work.BEGUN))
        begun_at = {job: float(at) for job, at in self._client.hgetall(work.BEGUN_AT).items()}
        done_at = {job: float(at) for job, at in self._client.hgetall(work.DONE_AT).items()}
        ends = sorted(done_at.values())
        gaps = [after - before for before, after in zip([began_s, *ends], ends, strict=False)]
        return Outcome(
            num_jobs=num_jobs,
            num_lost=num_jobs - len(done),
            num_doubled=sum(n > 1 for n in done.values()),
            num_late=sum(at - begun_at[job] > LATE_S for job, at in done_at.items()),
            num_wasted=num_begun - len(done),
            seconds=round(ends[-1] - began_s, 1) if len(done) == num_jobs else None,
            longest_gap_s=round(max(gaps, default=0.0), 1),
        )

    def close(self) -> None:
        self.server.stop()
