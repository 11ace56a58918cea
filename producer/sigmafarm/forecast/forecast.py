"""What will come: when a batch is done, when a waiting job is drawn, when nothing is open any more. A range each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sigmafarm.forecast.busy import ALWAYS, Span
from sigmafarm.forecast.line import Turn, turn_of, work_before_the_last
from sigmafarm.forecast.rates import Rate, rate_of
from sigmafarm_common.records import Batch, Job, WorkerInfo
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Line, Pace, Place


class Eta(NamedTuple):
    """Seconds until something is done: most likely, at least, and at most (None: nobody can say)."""

    seconds: float
    least_s: float
    most_s: float | None


@dataclass(frozen=True)
class Forecast:
    """The farm at one moment, as far as it tells of what comes."""

    rate: Rate | None
    lines: tuple[Line, ...] = ()
    #: Models that a living worker takes jobs of, and how many jobs can be drawn at once.
    models: frozenset[str] = frozenset()
    num_slots: int = 1

    @classmethod
    def of(
        cls,
        pace: Sequence[Pace],
        lines: Sequence[Line],
        workers: Sequence[WorkerInfo],
        now_ms: float,
        busy: Sequence[Span] = ALWAYS,
    ) -> Forecast:
        """Return what the figures of a moment tell."""
        taking = [worker for worker in workers if worker.takes_jobs]
        models = frozenset(model for worker in taking for model in worker.models)
        num_slots = sum(worker.slots for worker in taking)
        return cls(rate_of(pace, now_ms, busy), tuple(lines), models, num_slots)

    def is_near_its_end(self, batch: Batch) -> bool:
        """Whether the last jobs of a batch are drawn, so that how long one takes counts, and not how many there are."""
        return 0 < batch.counts.queued + batch.counts.running <= 2 * self.num_slots

    def of_batch(self, batch: Batch, *, job_s: float = 0.0) -> Eta | None:
        """Return when a batch will be done: what others have before its last job is counted. None where it is over or
        paused, nobody takes jobs, or nothing was drawn yet. `job_s` is how long a job of it took, if that is known."""
        if batch.counts.is_done or batch.is_paused or not batch.open_cost:
            return None
        before = max((work_before_the_last(line, batch.id) for line in self.lines), default=0.0)
        num_open = batch.counts.queued + batch.counts.running
        found = self._eta(before + batch.open_cost, batch.open_cost / num_open)
        if found is None or found.most_s is None or not self.is_near_its_end(batch):
            return found
        return found._replace(most_s=max(found.most_s, job_s * -(-num_open // self.num_slots)))

    def of_all(self, open_cost: float, num_open: int) -> Eta | None:
        """Return when nothing is open any more, of so much work and so many jobs."""
        return self._eta(open_cost, open_cost / max(1, num_open)) if open_cost else None

    def of_job(self, job: Job, place: Place) -> tuple[Turn | None, Eta | None]:
        """Return where a waiting job stands, and when its picture is there; None for what nobody can say."""
        line = next((line for line in self.lines if line.model == job.model), None)
        if job.state is not JobState.QUEUED or line is None:
            return None, None
        turn = turn_of(line, job.batch_id, place)
        if turn is None or job.model not in self.models:
            return turn, None
        cost = job.request.cost
        return turn, self._eta(turn.work_before + turn.work_in_hand / 2 + cost, cost)

    def _eta(self, cost: float, job_cost: float) -> Eta | None:
        """Return a range for work of which the last job costs so much: it begins when a slot is free, and no rate makes
        it shorter; what is with workers is partly done."""
        if self.rate is None or not self.num_slots:
            return None
        seconds, most_s = self.rate.seconds(cost), self.rate.most_s(cost)
        in_flight = min(self.num_slots * job_cost, cost)
        slack_s = self.rate.seconds(in_flight)
        least_s = max(0.0, self.rate.least_s(cost, in_flight) - slack_s)
        return Eta(seconds, least_s, None if most_s is None else most_s + slack_s)
