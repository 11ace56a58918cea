"""Those who submit and steer, as programs do that say again what was not answered."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sigmafarm import Farm
from sigmafarm.batch import FarmBatch
from sigmafarm_common.errors import (
    Conflict,
    FarmUnavailable,
    NotFound,
    QuotaExceeded,
    RecordsLost,
    SubmitInProgress,
    UnknownModel,
)
from sigmafarm_common.states import JobState
from tests.simulation.faults import NUM_ROWS
from tests.simulation.pictures import with_picture
from tests.simulation.quotas import quota_of
from tests.simulation.scheduler import Process
from tests.simulation.seams import SUBMITTER, ObjectsSeam, StoreSeam
from tests.simulation.store import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.world import World

#: Pauses of users between two tries.
AGAIN_S = 1.0
LONG_STEPS = 120
#: How often nobody goes on with a submit whose process died.
GIVEN_UP = 0.3
#: Seconds between two rows that come slowly, at most.
ROW_PAUSE_S = 0.4
#: Jobs of a state that are looked at for one to steer.
LOOKED_AT = 8
#: Of batches with equal jobs: how many different ones there are.
NUM_EQUAL = 6
#: What a submit may meet, and says itself again after.
PASSING = (FarmUnavailable, QuotaExceeded, RecordsLost, SubmitInProgress, UnknownModel)  # the last: no worker yet


@dataclass
class Order:
    """What is submitted under one key. It has a batch once it was accepted."""

    number: int
    rows: list[dict[str, Any]]
    reuse: bool
    batch_id: str = ""
    #: Whether its submitter died and nobody went on. Then it may be accepted, and need not.
    is_given_up: bool = False

    @property
    def name(self) -> str:
        return f"batch {self.number}"


class Users:
    """Everybody who wants something of the farm."""

    def __init__(self, world: World):
        self.world = world
        self.process = Process("u")
        self.store, self.farm = StoreSeam(self.process, world), self._farm_of(self.process)
        self.orders: list[Order] = []
        self.num_made_anew = self._num_submitters = 0

    @property
    def batches(self) -> list[str]:
        return [order.batch_id for order in self.orders if order.batch_id]

    @property
    def is_content(self) -> bool:
        """Whether all that was submitted is accepted and there."""
        return all(order.is_given_up or self._is_there(order) for order in self.orders)

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
        scheduler, mix, left = self.world.scheduler, self.world.mix, self.world.num_jobs
        while left > 0:
            num = min(left, scheduler.chance.choice(NUM_ROWS))
            left, reuse = left - num, scheduler.chance.random() < mix.equal
            number = len(self.orders) + 1
            order = Order(number, [self._row(number, n, is_equal=reuse) for n in range(num)], reuse)
            self.orders.append(order)
            self._submit(order)
            if order.batch_id and scheduler.chance.random() < mix.resubmit:
                self._say_again(order)
            scheduler.wait(scheduler.chance.uniform(0, self.world.submit_pause_s))
        self.world.has_submitted = True

    def make_anew(self) -> None:
        """Submit again, under their keys, batches that the store lost with its newest writes."""
        for order in self.orders:
            if order.batch_id and not self._is_there(order):
                self.world.note(f"batch {order.number} is gone and is submitted again")
                self.num_made_anew += 1
                order.batch_id = ""
                self._submit(order)

    def _submit(self, order: Order) -> None:
        """Submit until it is accepted, by processes that may die while they do."""
        scheduler = self.world.scheduler
        while not order.batch_id and not order.is_given_up:
            if not self.world.mix.submitter_death:
                self._try(order, self.farm)
                continue
            self._num_submitters += 1
            process = Process(f"{SUBMITTER}{self._num_submitters}")
            scheduler.start(process, partial(self._try, order, self._farm_of(process)))
            scheduler.wait(float("inf"), lambda p=process: bool(order.batch_id) or not p.is_alive)
            order.is_given_up = not order.batch_id and scheduler.chance.random() < GIVEN_UP

    def _try(self, order: Order, farm: Farm) -> None:
        while not self._is_there(order):
            try:
                order.batch_id = self._send(order, order.rows, farm).id
            except PASSING as error:
                if isinstance(error, RecordsLost) and not self.world.num_rollbacks:
                    raise Violation(f"batch {order.number} is said to be lost, and nothing was: {error}") from None
                self.world.scheduler.wait(AGAIN_S)
            except Conflict as error:
                if "takes no rows" not in str(error) or not self.world.mix.slow_object:
                    raise  # else its picture took so long to store that it counted as dead: it is submitted again
                self.world.scheduler.wait(AGAIN_S)

    def _send(self, order: Order, said: list[dict[str, Any]], farm: Farm) -> FarmBatch:
        key, quota = f"key {order.number}", quota_of(self.world.mix)
        rows = self._slowly(said) if self.world.scheduler.chance.random() < self.world.mix.slow_rows else said
        return farm.submit(rows, idempotency_key=key, name=order.name, reuse=order.reuse, quota=quota)

    def _slowly(self, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield rows as they come from a program that makes them."""
        scheduler = self.world.scheduler
        for row in rows:
            scheduler.wait(scheduler.chance.uniform(0, ROW_PAUSE_S))
            yield row

    def _say_again(self, order: Order) -> None:
        """Submit once more what was accepted, and something else under its key: neither makes jobs."""
        with suppress(*PASSING):
            again = self._send(order, order.rows, self.farm)
            if again.id != order.batch_id:
                # The store may have lost either meanwhile: then one of them is of another time.
                if self._is_there(order) and self.world.store.has_batch(again.id):
                    raise Violation(f"batch {order.number} was accepted twice under its key (I1)")
                if not self._is_there(order):
                    order.batch_id = again.id
        if self.world.num_rollbacks or self.world.mix.rollback_s:
            return  # its key may be free again
        with suppress(Conflict, *PASSING):
            other = self._send(order, [*order.rows, {"prompt": "something else"}], self.farm)
            raise Violation(f"other rows were taken for those of batch {order.number}: {other.id}")

    def _is_there(self, order: Order) -> bool:
        return self.world.store.has_batch(order.batch_id)

    def _farm_of(self, process: Process) -> Farm:
        store, objects = StoreSeam(process, self.world), ObjectsSeam(process, self.world)
        return Farm(self.world.config, store=store, objects=objects, clock=self.world.clock)

    def _row(self, number: int, n: int, *, is_equal: bool) -> dict[str, Any]:
        mix, chance = self.world.mix, self.world.scheduler.chance
        if is_equal:
            which = chance.randrange(NUM_EQUAL)
            return {"prompt": f"a boat like {which}", "seed": which, "num_inference_steps": 4 + which}
        drawn, kind = chance.random(), "a"
        for name in ("poison", "broken", "memory"):
            if 0 <= drawn < getattr(mix, name):
                kind = name
            drawn -= getattr(mix, name)
        steps = LONG_STEPS if chance.random() < mix.long else chance.randint(1, 12)
        row = {"prompt": f"{kind} boat {number}.{n}", "seed": n, "num_inference_steps": steps}
        return with_picture(row, chance) if chance.random() < mix.drawn_from else row

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
        """Return a job of one of these states, if its batch has one."""
        chance = self.world.scheduler.chance
        jobs = self.store.jobs(self._any_batch(), state=chance.choice(states), limit=LOOKED_AT)
        return chance.choice(jobs).id if jobs else None

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
