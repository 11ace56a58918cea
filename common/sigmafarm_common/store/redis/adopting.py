"""How a batch whose records were lost gets them anew, from what lies in the object store. An operator's part: it is no
part of the contract that users' tests build on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sigmafarm_common.errors import Conflict
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.packing import same_of
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Part

#: Jobs that one call of adopt_rows makes.
ADOPTED_PER_CALL = 100


@dataclass(frozen=True)
class Adopted:
    """A job as it is to come into being: in a terminal state."""

    state: JobState
    request: RenderRequest
    #: Where its picture lies, with its fence, its SHA-256 and its size; the fence counts for later tries too.
    image_key: str = ""
    number: int = 0
    token: str = ""
    sha256: str = ""
    size_bytes: int = 0
    #: Why it failed.
    error_code: str = ""
    error: str = ""


class Adopting(Part):
    """Makes records of jobs that are over."""

    def adopt(self, batch_id: str, jobs: Iterable[Adopted], *, owner: str, name: str, submitted_ms: int) -> None:
        """Make a batch of jobs in the order of their rows. What was cut off goes on when it is said again. Raises
        Conflict if the batch has records."""
        first, left = 0, iter(jobs)
        while piece := list(islice(left, ADOPTED_PER_CALL)):
            rows = [value for job in piece for value in _arguments(job)]
            self._adopt_rows(batch_id, owner, name, submitted_ms, first, rows)
            first += len(piece)
        self._adopt_batch(batch_id)

    @guarded
    def _adopt_rows(self, batch_id: str, owner: str, name: str, submitted_ms: int, first: int, rows: list[Any]) -> None:
        if self._redis.run("adopt_rows", batch_id, owner, name, submitted_ms, first, *rows) < 0:
            raise Conflict(f"batch {batch_id} has records: nothing is made anew; see `sigmafarm status {batch_id}`")

    @guarded
    def _adopt_batch(self, batch_id: str) -> None:
        if not self._redis.run("adopt_batch", batch_id):
            raise Conflict(f"batch {batch_id} lost its records again meanwhile: say `sigmafarm adopt {batch_id}` again")


def _arguments(job: Adopted) -> tuple[Any, ...]:
    request = job.request
    asked = (job.state, request.model, request.cost, request.num_calls, request.to_json())
    picture = (job.image_key, job.number, job.token, job.sha256, job.size_bytes)
    return (*asked, *picture, job.error_code, job.error, same_of(request))
