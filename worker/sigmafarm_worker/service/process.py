"""One worker process: loads the models, warms the engine, then answers wake-up calls until it is told to stop.

The main thread belongs to Celery's consumer. Signals only set events; the drainer thread does what they ask for:
stop consuming, let the engine finish for drain_s, hand back the rest, and make sure that the process ends.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Mapping

import structlog

from sigmafarm_common.celery_app import make_app
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.errors import FarmUnavailable
from sigmafarm_common.model_card import told_afar
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.objects.opening import open_objects
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.signals import call_on
from sigmafarm_common.start_up import end_start
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.tracing import open_tracing
from sigmafarm_worker.drawing_engine import MakeEngine
from sigmafarm_worker.service.desk import Desk
from sigmafarm_worker.service.outlet import Outlet
from sigmafarm_worker.service.poller import Poller
from sigmafarm_worker.service.pulse import Pulse
from sigmafarm_worker.service.render import Renderer
from sigmafarm_worker.service.renewer import Renewer
from sigmafarm_worker.service.streak import Streak
from sigmafarm_worker.service.tasks import Reception, register_render
from sigmafarm_worker.service.throughput import Rate

#: Seconds that a process which handed its jobs back may take to end before it ends itself the hard way.
END_LIMIT_S = 5.0
#: Exit code of a process that stopped because its jobs kept failing: the supervisor replaces it after a pause.
FAILING_EXIT_CODE = 4
#: Exit code of a process whose engine has ended by itself, as on a device that has gone wrong.
BROKEN_EXIT_CODE = 6

_log = structlog.get_logger("sigmafarm.worker")


class WorkerProcess:
    """The parts of a worker, put together."""

    def __init__(
        self,
        config: Config,
        *,
        worker_id: str,
        device: str,
        label: str,
        specs: Mapping[str, ModelSpec],
        pulse_fd: int,
        make_engine: MakeEngine,
    ):
        self._config, self._worker_id, self._device, self._specs = config, worker_id, device, specs
        #: What the farm's pages call the device.
        self._label = label
        self._make_engine = make_engine
        self._clock = SystemClock()
        self._tracing = open_tracing("sigmafarm-worker")
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._rate = Rate()
        #: Why it takes no more jobs, if they kept failing.
        self._failing = ""
        self._exit_code = 0
        #: Whether it was told to take no more jobs, and the lock of what follows from that.
        self._is_drained, self._receiving = False, threading.Lock()
        self._pulse = Pulse(pulse_fd, lambda: self._desk.is_engine_alive(), self.stop)

    def run(self) -> int:
        """Work until a signal, or until jobs keep failing, and return the exit code. Raises what keeps the worker from
        starting."""
        self._listen_to_signals()
        self._pulse.start()
        if self._device == "cpu":
            os.nice(self._config.cpu_niceness)  # Redis, the API and whoever sits there come first
        self._engine = self._make_engine(self._config, self._device, self._specs)
        self._engine.start()
        self._engine.warm_up()
        self._desk = Desk(self._engine, self._clock, stall_s=self._config.stall_s)
        self._store = RedisStore(self._config)
        cards = [model.card() for model in self._engine.models.values()]
        self._fingerprints = {card.name: card.fingerprint for card in cards}
        self._broken = {name: told_afar(self._specs[name], why) for name, why in self._engine.broken.items()}
        self._store.register_models(cards)
        self._renewer = Renewer(self._store, self._desk, self._info, lease_s=self._config.lease_s, clock=self._clock)
        self._reception = self._make_reception(list(self._engine.models))
        self._say_hello()
        self._tell_namesakes()
        self._poller = Poller(self._worker_id, self._store, self._desk, self._set_drained, self._clock)
        self._renewer.start()
        self._poller.start()
        self._outlet.start()
        end_start()
        self._pulse.is_ready = True
        self._pulse.run_now()  # from here on the supervisor judges its silence as that of a worker, not of a start
        threading.Thread(target=self._drain_when_told, name="drainer", daemon=True).start()
        try:
            if not self._stop.is_set():
                self._reception.run()
        finally:
            self._end()
        return self._exit_code

    def stop(self) -> None:
        """Drain and end; a second time: hand back at once and end."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _tell_namesakes(self) -> None:
        """Log each model that is another than a living worker serves under its name. It is served all the same, for
        nobody here can tell which of them is right; the workers' pages and the doctor name both."""
        try:
            found = find_namesakes(self._store.workers())
        except FarmUnavailable:
            return
        for namesakes in found:
            if namesakes.model in self._engine.models:
                _log.error("two models under one name", worker=self._worker_id, problem=str(namesakes))

    def _say_hello(self) -> None:
        """Renew once before anything is taken. Raises AccessDenied where that is refused; the loop waits out an
        outage."""
        try:
            self._renewer.run_once()
        except FarmUnavailable as error:
            if not error.retryable:
                raise

    def _give_up(self, reason: str) -> None:
        """Take no more jobs, hand back those that are held, and end."""
        _log.error("worker keeps failing, it is to be replaced", worker=self._worker_id, reason=reason)
        self._failing, self._exit_code = reason, FAILING_EXIT_CODE
        self._hurry.set()
        self._stop.set()

    def _end_without_engine(self, reason: str) -> None:
        """Take no more jobs and end, once what was drawn before is stored."""
        if self._stop.is_set():
            return
        _log.error("the engine has ended, its worker is to be replaced", worker=self._worker_id, reason=reason)
        self._failing, self._exit_code = reason, BROKEN_EXIT_CODE
        self._stop.set()

    def _listen_to_signals(self) -> None:
        call_on([signal.SIGTERM], self.stop)
        # A terminal sends its interrupt to the supervisor too, which decides for all its workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _make_reception(self, model_names: list[str]) -> Reception:
        streak = Streak(self._config.max_failures, self._give_up)
        objects = open_objects(self._config)
        self._outlet = Outlet(self._worker_id, self._store, objects, self._clock, self._note_outlet)
        self._renderer = Renderer(
            self._worker_id,
            self._store,
            objects,
            self._desk,
            self._clock,
            streak=streak,
            outlet=self._outlet,
            on_engine_end=self._end_without_engine,
            tracing=self._tracing,
        )
        app = make_app(self._config)
        register_render(app, self._renderer.render)
        _log.info("worker is ready", worker=self._worker_id, device=self._label, models=model_names)
        return Reception(
            app,
            models=model_names,
            slots=self._engine.max_images,
            lookahead=self._config.lookahead,
            worker_id=self._worker_id,
            clock=self._clock,
        )

    def _set_drained(self, is_drained: bool) -> None:
        """Leave calls to others, or take them again; what is held is drawn."""
        self._is_drained = is_drained
        self._receive_or_not()

    def _note_outlet(self) -> None:
        """The outlet was closed or opened: take no calls, or take them again, and tell the farm now."""
        self._receive_or_not()
        self._renewer.run_now()

    def _receive_or_not(self) -> None:
        with self._receiving:
            is_idle = self._is_drained or self._outlet.is_closed
            (self._reception.pause if is_idle else self._reception.resume)()

    def _drain_when_told(self) -> None:
        self._stop.wait()
        self._reception.stop()
        _log.info("worker drains", worker=self._worker_id, num_jobs=self._desk.num_jobs)
        self._renewer.run_now()
        self._wait_for_empty_desk()
        self._desk.hand_back()
        if not self._desk.wait_until_empty(END_LIMIT_S):
            self._renderer.give_back_stuck()
        self._clock.wait(threading.Event(), END_LIMIT_S)
        _log.warning("worker does not end by itself, it is ended", worker=self._worker_id)
        os._exit(self._exit_code or 1)

    def _wait_for_empty_desk(self) -> None:
        end_s = self._clock.monotonic_s() + self._config.drain_s
        while self._clock.monotonic_s() < end_s and not self._hurry.is_set():
            if self._desk.wait_until_empty(0.05):
                return

    def _end(self) -> None:
        self._outlet.stop()
        self._poller.stop()
        self._renewer.stop()
        self._engine.stop()
        self._tracing.close()
        if self._exit_code != BROKEN_EXIT_CODE:  # else whoever started it takes back what it drew, as from a dead one
            self._forget()
        _log.info("worker has ended", worker=self._worker_id, num_done=self._desk.num_done)

    def _forget(self) -> None:
        try:
            self._store.forget_worker(self._worker_id)
        except FarmUnavailable:
            _log.warning("the store is away: this worker is forgotten when its last sign of life is old")

    def _info(self) -> WorkerInfo:
        return WorkerInfo(
            id=self._worker_id,
            models=tuple(self._engine.models),
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._label,
            slots=self._engine.max_images,
            lookahead=self._config.lookahead,
            num_jobs=self._desk.num_jobs,
            num_done=self._desk.num_done,
            step_s=self._engine.stats.step_s,
            images_per_s=self._rate.per_s(self._desk.num_done, self._clock.monotonic_s()),
            memory_bytes=self._engine.memory_bytes,
            is_draining=self._stop.is_set(),
            failing=self._failing or self._outlet.reason,
            fingerprints=self._fingerprints,
            broken=self._broken,
            max_pixels=self._engine.max_pixels,
        )
