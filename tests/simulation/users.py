"""Those who submit and steer, as programs do that say again what was not answered."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sigmafarm import Farm
from sigmafarm_common.errors import Conflict, FarmUnavailable, NotFound, SubmitInProgress, UnknownModel
from sigmafarm_common.states import JobState
from tests.simulation.scheduler import Process
from tests.simulation.seams import ObjectsSeam, StoreSeam

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.world import World

#: Pauses of users between two tries.
AGAIN_S = 1.0
LONG_STEPS = 120


class Users:
    """Everybody who wants something of the farm."""

    def __init__(self, world: World):
        self.world = world
        self.process = Process("u")
        self.store = StoreSeam(self.process, world)
        self.farm = Farm(world.config, store=self.store, objects=ObjectsSeam(self.process, world), clock=world.clock)
        self.batches: list[str] = []

    def start(self) -> None:
        """Begin to submit and to steer."""
        mix, scheduler = self.world.mix, self.world.scheduler
        scheduler.start(self.process, self._submit_all)
        wishes: dict[Callable[[], None], float] = {
            self._cancel: mix.cancel_s,
            self._cancel_and_retry: mix.cancel_retry_s,
            self._cancel_batch: mix.cancel_batch_s,
            self._retry: mix.retry_s,
            self._pause: mix.pause_s,
            self._set_priority: mix.priority_s,
        }
        for wish, every_s in wishes.items():
            if every_s:
                scheduler.start(self.process, partial(self._again_and_again, wish, every_s))

    def _submit_all(self) -> None:
        scheduler, left, number = self.world.scheduler, self.world.num_jobs, 0
        while left > 0:
            num = min(left, scheduler.chance.choice((1, 1, 2, 5, 10, 20)))
            left, number = left - num, number + 1
            rows = [self._row(number, n) for n in range(num)]
            while True:
                try:
                    batch = self.farm.submit(rows, idempotency_key=f"key {number}", name=f"batch {number}")
                    break
                except (FarmUnavailable, SubmitInProgress, UnknownModel):  # no worker has come yet
                    scheduler.wait(AGAIN_S)
            self.batches.append(batch.id)
            scheduler.wait(scheduler.chance.uniform(0, self.world.submit_pause_s))
        self.world.has_submitted = True

    def _row(self, number: int, n: int) -> dict[str, Any]:
        mix, chance = self.world.mix, self.world.scheduler.chance
        drawn = chance.random()
        kind = "poison" if drawn < mix.poison else "broken" if drawn < mix.poison + mix.broken else "a"
        steps = LONG_STEPS if chance.random() < mix.long else chance.randint(1, 12)
        return {"prompt": f"{kind} boat {number}.{n}", "seed": n, "num_inference_steps": steps}

    def _again_and_again(self, wish: Callable[[], None], every_s: float) -> None:
        scheduler = self.world.scheduler
        while not self.world.is_healing:
            scheduler.wait(scheduler.chance.expovariate(1 / every_s))
            if self.batches and not self.world.is_healing:
                with suppress(FarmUnavailable, Conflict, NotFound):
                    wish()

    def _any_batch(self) -> str:
        return self.world.scheduler.chance.choice(self.batches)

    def _any_job(self, *states: JobState) -> str | None:
        """Return a job of these states, if its batch has one."""
        jobs = [job.id for job in self.store.jobs(self._any_batch(), limit=100) if job.state in states]
        return self.world.scheduler.chance.choice(jobs) if jobs else None

    def _cancel(self) -> None:
        if job_id := self._any_job(JobState.QUEUED, JobState.RUNNING):
            self.store.cancel_job(job_id)

    def _cancel_and_retry(self) -> None:
        if job_id := self._any_job(JobState.RUNNING):
            self.store.cancel_job(job_id)
            self.store.retry_job(job_id)

    def _cancel_batch(self) -> None:
        self.store.cancel_batch(self._any_batch())

    def _retry(self) -> None:
        if job_id := self._any_job(JobState.FAILED, JobState.CANCELLED):
            self.store.retry_job(job_id)

    def _pause(self) -> None:
        batch_id = self._any_batch()
        self.store.pause_batch(batch_id)
        self.world.scheduler.wait(self.world.scheduler.chance.uniform(0, 5))
        self.store.resume_batch(batch_id)

    def _set_priority(self) -> None:
        self.store.set_priority(self._any_batch(), self.world.scheduler.chance.randint(-5, 5))
