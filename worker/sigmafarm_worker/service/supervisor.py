"""The supervisor: starts one worker process per device, replaces those that die or stand still, and runs a keeper.

It imports no torch, holds no job and may itself be killed: its workers notice and drain. When a worker dies, its leases
are released at once; a job does not wait for them to run out.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

import structlog

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.concluder import Concluder
from sigmafarm_common.config import Config
from sigmafarm_common.errors import AccessDenied, DeviceUnusable, FarmUnavailable
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.store.protocol import Store
from sigmafarm_worker.service.cores import share_of_cores
from sigmafarm_worker.service.devices import CPU, WorkerDevice
from sigmafarm_worker.service.pulse import Listener

#: Pause before a dead worker is replaced: the first, doubled up to the longest, forgotten after a life of CALM_S.
FIRST_PAUSE_S, LONGEST_PAUSE_S, CALM_S = 0.5, 30.0, 60.0
#: Seconds between two looks at the children.
LOOK_S = 0.1
#: Seconds beyond drain_s after which a child that was told to end is killed.
KILL_MARGIN_S = 12.0
#: Exit code of a child that Redis does not let in.
REFUSED_EXIT_CODE = 5
#: Exit code of a child whose device it can never use: a PyTorch without CUDA, a driver that is too old.
UNUSABLE_EXIT_CODE = 7
#: Exit codes of a child for which another try is of no use, and ours then: a model or setting that does not fit, a user
#: or a right that is refused.
HOPELESS_EXIT_CODES = {
    2: 2,
    REFUSED_EXIT_CODE: AccessDenied.exit_code,
    UNUSABLE_EXIT_CODE: DeviceUnusable.exit_code,
}

#: What starts a worker process; its device, id and pulse are added.
WORKER_COMMAND = (sys.executable, "-m", "sigmafarm_worker")

_log = structlog.get_logger("sigmafarm.supervisor")


class Child:
    """The worker process of one device, over its lives."""

    def __init__(self, device: WorkerDevice, config: Config, command: Sequence[str], clock: Clock, num_threads: int):
        self.device, self._config, self._command, self._clock = device, config, command, clock
        self._num_threads = num_threads
        self.worker_id = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.listener: Listener | None = None
        self.started_s = 0.0
        self.next_start_s = 0.0
        self._pause_s = FIRST_PAUSE_S

    def start(self) -> None:
        """Start a process with a worker id of its own."""
        self.worker_id = f"{socket.gethostname()}-{self.device.label.replace(':', '')}-{secrets.token_hex(3)}"
        self.listener = Listener(self._clock, stall_s=self._config.stall_s)
        fd = self.listener.child_fd
        self.process = subprocess.Popen(
            [*self._command, *self._arguments(), "--pulse-fd", str(fd)],
            pass_fds=[fd],
            env={**os.environ, **self._config.environ(), **self._environ()},
        )
        self.listener.close_child_end()
        self.started_s = self._clock.monotonic_s()
        _log.info("worker started", worker=self.worker_id, device=self.device.label, pid=self.process.pid)

    def _arguments(self) -> list[str]:
        return ["--device", self.device.device, "--label", self.device.label, "--worker-id", self.worker_id]

    def _environ(self) -> dict[str, str]:
        return {"SIGMAFARM_NUM_THREADS": str(self._num_threads), **self.device.environ()}

    def exit_code(self) -> int | None:
        """Return the exit code if the process has just ended; from then on there is none until the next start."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        assert self.listener is not None
        self.listener.close()
        self.process = None
        if self._clock.monotonic_s() - self.started_s > CALM_S:
            self._pause_s = FIRST_PAUSE_S
        self.next_start_s = self._clock.monotonic_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return code

    def is_silent(self) -> bool:
        """Whether the process runs and has given no sign of life for too long."""
        return self.process is not None and self.listener is not None and self.listener.is_silent()

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """Keeps one worker process per device alive until `stop`."""

    def __init__(
        self,
        config: Config,
        devices: Sequence[WorkerDevice],
        store: Store,
        keeper: Keeper,
        concluder: Concluder,
        *,
        command: Sequence[str] = WORKER_COMMAND,
        clock: Clock | None = None,
    ):
        self._config, self._store, self._clock = config, store, clock or SystemClock()
        self._command = command
        self._children = [self._child(device, len(devices)) for device in devices]
        self._loops = [keeper, concluder]
        self._stop = threading.Event()
        self._stop_count = 0
        self._orphans: list[str] = []

    def stop(self) -> None:
        """Tell the workers to drain and end; said again: to hand back at once. From any thread."""
        self._stop_count += 1
        self._stop.set()

    def run(self) -> int:
        """Supervise until `stop`, or until a worker says that it can never start. Return the exit code."""
        for loop in self._loops:
            loop.start()
        code = 0
        try:
            while not self._stop.is_set() and not code:
                code = self.run_once()
                self._clock.wait(self._stop, LOOK_S)
        finally:
            self._end_children()
            for loop in reversed(self._loops):
                loop.stop()
        return code

    def run_once(self) -> int:
        """Look at every child once; return the exit code of one that can never start, else 0."""
        self._release_orphans()
        for child in list(self._children):
            code = child.exit_code()
            if code is not None:
                self._note_death(child, code)
                if code == UNUSABLE_EXIT_CODE and self._does_without(child):
                    continue
                if code in HOPELESS_EXIT_CODES:
                    return HOPELESS_EXIT_CODES[code]
            if child.is_silent():
                _log.error("worker stands still, it is killed", worker=child.worker_id)
                child.signal(signal.SIGKILL)
            if child.process is None and self._clock.monotonic_s() >= child.next_start_s:
                child.start()
        return 0

    def _child(self, device: WorkerDevice, num_children: int) -> Child:
        num_threads = self._config.num_threads or share_of_cores(num_children)
        return Child(device, self._config, self._command, self._clock, num_threads)

    def _does_without(self, child: Child) -> bool:
        """Go on without a device that can never be used, if the settings leave the choice to us; on the CPU, if it was
        the last. Return whether that was done."""
        if self._config.device != "auto" or child.device == CPU:
            return False
        self._children.remove(child)
        _log.error("GPU is left aside, it cannot be used", device=child.device.label)
        if not self._children:
            _log.warning("no GPU can be used, the worker draws on the CPU")
            self._children.append(self._child(CPU, 1))
        return True

    def _note_death(self, child: Child, code: int) -> None:
        _log.error("worker died", worker=child.worker_id, exit_code=code)
        self._orphans.append(child.worker_id)
        self._release_orphans()

    def _release_orphans(self) -> None:
        """Release the leases of dead workers; while the store is away they are kept for the next look."""
        while self._orphans:
            try:
                jobs = self._store.release_worker(self._orphans[0])
            except FarmUnavailable:
                return
            _log.info("jobs of a dead worker taken back", worker=self._orphans.pop(0), num_jobs=len(jobs))

    def _end_children(self) -> None:
        told = 0
        deadline_s = self._clock.monotonic_s() + self._config.drain_s + KILL_MARGIN_S
        while any(child.process for child in self._children):
            if told < max(self._stop_count, 1):
                told += 1
                self._signal_all(signal.SIGTERM)
            if self._clock.monotonic_s() > deadline_s:
                self._signal_all(signal.SIGKILL)
            for child in self._children:
                if (code := child.exit_code()) not in (None, 0):
                    self._note_death(child, code or 0)
            self._clock.wait(threading.Event(), LOOK_S)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children:
            child.signal(number)
