"""The processes of a simulated farm, put together of the farm's own parts: workers and supervisors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from sigmafarm_common.concluder import Concluder
from sigmafarm_common.errors import FarmUnavailable
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.loop import Loop
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.values import Dispatched
from sigmafarm_worker.service.desk import Desk
from sigmafarm_worker.service.outlet import Outlet
from sigmafarm_worker.service.poller import Poller
from sigmafarm_worker.service.render import Renderer
from sigmafarm_worker.service.renewer import Renewer
from sigmafarm_worker.service.streak import Streak
from tests.simulation.scheduler import Process
from tests.simulation.seams import MODEL, ObjectsSeam, StoreSeam, VirtualEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.world import World

#: Seconds between two looks of a supervisor at its worker, and until a dead one is replaced.
LOOK_S, REPLACE_S = 0.3, 0.5
#: Seconds that a frozen worker is given before its supervisor kills it: its pulse is silent.
SILENCE_S = 15.0
FOREVER = float("inf")


def run_loop(loop: Loop) -> None:
    """Run a loop of the farm as its thread does."""
    while not loop._stopped.is_set():
        loop._guarded(loop.next_round)
        loop.pause()


class Worker:
    """A worker process: what WorkerProcess puts together, with calls out of a list in place of Celery's queue."""

    def __init__(self, world: World, worker_id: str):
        self.world, self.id = world, worker_id
        self.process = Process(worker_id)
        config, clock = world.config, world.clock
        self._store, self._objects = StoreSeam(self.process, world), ObjectsSeam(self.process, world)
        self._engine = VirtualEngine(self.process, world, config.max_images or 0)
        self.desk = Desk(self._engine, clock, stall_s=config.stall_s)
        self._outlet = Outlet(self.id, self._store, self._objects, clock, self._note_outlet)
        self._renderer = Renderer(
            self.id,
            self._store,
            self._objects,
            self.desk,
            clock,
            streak=Streak(config.max_failures, self._give_up),
            outlet=self._outlet,
            on_engine_end=self._give_up,
        )
        self._renewer = Renewer(self._store, self.desk, self._info, lease_s=config.lease_s, clock=clock)
        self._poller = Poller(self.id, self._store, self.desk, self._set_drained, clock)
        self._is_drained, self.is_stopping = False, False
        self._failing = ""
        self._num_threads = 0

    def start(self) -> None:
        self.world.scheduler.start(self.process, self._run)

    def _run(self) -> None:
        scheduler = self.world.scheduler
        self._engine.start()
        while True:
            try:
                self._store.register_models([self._engine.card()])
                self._renewer.run_once()
                break
            except FarmUnavailable:
                scheduler.wait(1.0)
        for loop in (self._renewer, self._poller, self._outlet):
            scheduler.start(self.process, partial(run_loop, loop))
        self._receive()
        self._drain()

    def _receive(self) -> None:
        """Take calls as Celery does: as many as there are threads for, and none while the outlet is closed."""
        calls = self.world.calls
        most = self._engine.max_images + self.world.config.lookahead

        def can_take() -> bool:
            is_idle = self._is_drained or self._outlet.is_closed
            return self.is_stopping or bool(calls and self._num_threads < most and not is_idle)

        while True:
            self.world.scheduler.wait(FOREVER, can_take)
            if self.is_stopping:
                return
            if not can_take():
                continue
            job_id = calls.pop(0)
            self._num_threads += 1
            self.world.scheduler.start(self.process, partial(self._answer, job_id))

    def _answer(self, job_id: str) -> None:
        try:
            self._renderer.render(job_id)
        finally:
            self._num_threads -= 1

    def _drain(self) -> None:
        """Finish what is held, or hand it back, and end: as WorkerProcess does."""
        scheduler = self.world.scheduler
        self._renewer.run_now()
        scheduler.wait(self.world.config.drain_s, lambda: not self.desk.num_jobs)
        self.desk.hand_back()
        scheduler.wait(30.0, lambda: not self.desk.num_jobs)
        if self.desk.num_jobs:
            self._renderer.give_back_stuck()
        for loop in (self._outlet, self._poller, self._renewer):
            loop._stopped.set()
        self._engine.stop()
        try:
            self._store.forget_worker(self.id)
        except FarmUnavailable:
            # Nobody has heard that it ended, nor, where it held jobs, that it has them no more: it counts as dead.
            self.world.excuse(self.id, FOREVER)
        scheduler.end(self.process)

    def _give_up(self, reason: str) -> None:
        self._failing, self.is_stopping = reason, True

    def _note_outlet(self) -> None:
        self._renewer.run_now()

    def _set_drained(self, is_drained: bool) -> None:
        self._is_drained = is_drained

    def _info(self) -> WorkerInfo:
        config = self.world.config
        return WorkerInfo(
            id=self.id,
            models=(MODEL,),
            host=self.process.name,
            pid=1,
            device="cpu",
            slots=self._engine.max_images,
            lookahead=config.lookahead,
            num_jobs=self.desk.num_jobs,
            is_draining=self.is_stopping,
            failing=self._failing or self._outlet.reason,
            fingerprints={MODEL: "simulated"},
        )


class Machine:
    """A supervisor with its worker: a keeper, a concluder, and what Supervisor decides about a worker."""

    def __init__(self, world: World, number: int):
        self.world, self.number = world, number
        self._num_lives = 0
        self.worker: Worker | None = None
        self.supervisor = Process("")
        #: Workers that died and whose jobs are not given back yet.
        self._orphans: list[str] = []
        self.start()

    def start(self) -> None:
        """Start the supervisor: at first, or as a service manager does after its end."""
        self.supervisor = Process(f"s{self.number}.{self._num_lives}")
        store, config = StoreSeam(self.supervisor, self.world), self.world.config
        keeper = Keeper(config, store, self._publish, clock=self.world.clock)
        keeper.id = self.supervisor.name
        concluder = Concluder(config, store, ObjectsSeam(self.supervisor, self.world), keeper)
        self._orphans = []
        for loop in (keeper, concluder):
            self.world.scheduler.start(self.supervisor, partial(run_loop, loop))
        self.world.scheduler.start(self.supervisor, partial(self._look_after, store))

    def _publish(self, jobs: Sequence[Dispatched]) -> None:
        for job in jobs:
            self.world.publish(job.job_id)

    def _look_after(self, store: StoreSeam) -> None:
        scheduler, silent_s = self.world.scheduler, 0.0
        if self.worker is not None and self.worker.process.is_alive:  # an orphan: its line is broken
            self.worker.is_stopping = True
            self.worker = None
        while True:
            if self._orphans:
                try:
                    store.release_worker(self._orphans[0])
                    self._orphans.pop(0)
                except FarmUnavailable:
                    pass
            worker = self.worker
            if worker is not None and not worker.process.is_alive:
                self._orphans.append(worker.id)
                self.worker = None
                scheduler.wait(REPLACE_S)
                continue
            if worker is None:
                self._num_lives += 1
                self.worker = Worker(self.world, f"w{self.number}.{self._num_lives}")
                self.worker.start()
            silent_s = silent_s + LOOK_S if worker is not None and worker.process.is_frozen else 0.0
            if worker is not None and silent_s > SILENCE_S:
                worker.process.is_frozen = False
                scheduler.end(worker.process)
            scheduler.wait(LOOK_S)


class InlineExecutor:
    """Does at once, in the caller's task, what a pool of threads would do."""

    def __init__(self, *_said: object, **_more: object):
        pass

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    @staticmethod
    def submit(do: Callable[..., Any], *said: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(do(*said))
        except Exception as error:
            future.set_exception(error)
        return future

    @staticmethod
    def map(do: Callable[[str], bool], things: Sequence[str]) -> list[bool]:
        return [do(each) for each in things]
