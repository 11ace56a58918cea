"""The whole farm on one machine: broker, object folder, the worker's supervisor, which brings the keeper, and the API.

The producer never imports the worker: its supervisor is a process, told by SIGMAFARM_* variables. Start and stop keep
an order: the broker is there before the supervisor and ends after it, so that a drain can be recorded. The API is a
thread of this process: it comes last and ends first.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from sigmafarm.api_address import forget_address, tell_address
from sigmafarm.embedded import EmbeddedBroker, FarmLock, end_with_parent
from sigmafarm.farm import Farm
from sigmafarm.log_files import API, LOG_FILES, WORKER, begin_anew, keep_small, log_path, new_lines
from sigmafarm_common import logs
from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config, Source
from sigmafarm_common.errors import ModelNotLoadable, SigmafarmError, StorageUnavailable, StoreUnavailable
from sigmafarm_common.model_card import card_of
from sigmafarm_common.model_folder import WORKER_PACKAGE, bundled_spec, find_bundled_folder
from sigmafarm_common.models_file import read_models_file
from sigmafarm_common.records import ModelCard

if TYPE_CHECKING:
    from sigmafarm.http.server import HttpServer

#: Beyond drain_s, how long a supervisor may take to end before it is killed.
STOP_MARGIN_S = 20.0
#: Longest wait for the first worker: imports, a model from disk, its warm-up.
READY_LIMIT_S = 600.0
#: Pause between two looks at a process that starts or ends.
LOOK_S = 0.1
#: What a worker's line for people begins with.
WORKER_SAYS = "sigmafarm worker:"


class WorkerEnded(SigmafarmError):
    """The supervisor ended by itself; its exit code is ours."""

    code = "worker_ended"

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class EmbeddedFarm:
    """Start it, ask `farm`, stop it. Everything it keeps lies in config.data_dir, and is there at the next start."""

    def __init__(
        self,
        config: Config,
        *,
        worker_command: Sequence[str] | None = None,
        has_api: bool = False,
        clock: Clock | None = None,
    ):
        self._command = list(worker_command) if worker_command else supervisor_command()
        self._lock = FarmLock(config.data_dir)
        self._clock = clock or SystemClock()
        self._broker = EmbeddedBroker(config.data_dir, self._clock)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._has_api = has_api
        self._api: HttpServer | None = None
        self._told_url = ""
        self.config = config
        self.log_path = log_path(config.data_dir, WORKER)
        #: The place in the log up to which new_words has read.
        self._read_to = 0

    @property
    def farm(self) -> Farm:
        """The farm, for submitting and asking."""
        return Farm(self.config)

    @property
    def url(self) -> str:
        """Where the dashboard and the API are, empty without them."""
        return self._api.url if self._api else ""

    def start(self) -> None:
        """Start the broker, the supervisor, and the API if it is wanted. Raises Conflict if a farm runs in the folder,
        StoreUnavailable, InvalidSettings."""
        self._lock.acquire()
        try:
            url = self._broker.start()
            self.config = self.config.replaced(redis_url=url, data_dir=self.config.data_dir)
            self.farm.store.register_models(known_cards(self.config))  # prompts are welcome before the worker is up
            self._start_supervisor()
            if self._has_api:
                self._start_api()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self, *, limit_s: float = READY_LIMIT_S, on_look: Callable[[], None] = lambda: None) -> None:
        """Wait until a worker serves a model. Raises WorkerEnded or ModelNotLoadable if that cannot be."""
        farm, end_s = self.farm, self._clock.monotonic_s() + limit_s
        while not farm.workers():
            self.check()
            if self._clock.monotonic_s() > end_s:
                raise ModelNotLoadable(f"no worker was ready within {limit_s:g} s: see {self.log_path}")
            on_look()
            self._clock.wait(threading.Event(), LOOK_S)

    def check(self) -> None:
        """Raise WorkerEnded or StoreUnavailable if a part of the farm has ended by itself; keep its logs small."""
        for part in LOG_FILES:
            keep_small(log_path(self.config.data_dir, part))
        if self._api is not None and not self._api.is_alive():
            raise StoreUnavailable(f"the API ended by itself: see {log_path(self.config.data_dir, API)}")
        if not self._broker.is_alive():
            raise StoreUnavailable(
                f"the embedded broker ended by itself: see {self.config.data_dir / 'broker'}/server.log"
            )
        code = self._supervisor.poll() if self._supervisor else 0
        if code is not None:
            raise WorkerEnded(f"{self._last_words()} (all of it: {self.log_path})", code if code > 0 else 1)

    def new_words(self) -> list[str]:
        """Return what workers that have ended since the last look said of it: they are replaced, and may end again."""
        lines, self._read_to = new_lines(self.log_path, self._read_to)
        return [line for line in lines if line.startswith(WORKER_SAYS)]

    def hurry(self) -> None:
        """Let a supervisor that drains hand its jobs back at once."""
        if self._supervisor is not None:
            self._supervisor.terminate()

    def stop(self) -> None:
        """Let running pictures be finished or handed back, then end everything. May be called again."""
        if self._api is not None:
            forget_address(self.config.data_dir, self._told_url)
            self._api.stop()
            self._api = None
        if self._supervisor is not None:
            self._supervisor.terminate()
            self._wait_for_supervisor(self.config.drain_s + STOP_MARGIN_S)
            self._supervisor = None
        self._broker.stop()
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_supervisor(self) -> None:
        try:
            begin_anew(self.log_path)
            with self.log_path.open("ab") as log:  # appending, so that keep_small can empty it
                self._supervisor = subprocess.Popen(
                    self._command,
                    env={**os.environ, **self.config.environ()},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for us: the supervisor is told by stop()
                    preexec_fn=end_with_parent,
                )
        except OSError as error:
            raise StorageUnavailable(f"the worker cannot be started: {error}; check {self.config.data_dir}") from None

    def _start_api(self) -> None:
        from sigmafarm.http.server import HttpServer  # FastAPI and Celery take a second: only when they are wanted

        is_port_said = any(s.name == "http_port" and s.source is not Source.DEFAULT for s in self.config.sources())
        try:
            begin_anew(log_path(self.config.data_dir, API))
            log = log_path(self.config.data_dir, API).open("a", encoding="utf-8")
        except OSError as error:
            raise StorageUnavailable(f"the API's log cannot be written: {error}") from None
        logs.set_up(self.config, stream=log, process="api")
        # The supervisor runs a keeper already.
        api = HttpServer(self.config, has_keeper=False, has_any_port=not is_port_said)
        try:
            api.check()
            api.start()
        except BaseException:
            api.stop()
            raise
        self._api = api
        self._told_url = api.url  # which one that has ended by itself does not know any more
        tell_address(self.config.data_dir, self._told_url)

    def _wait_for_supervisor(self, limit_s: float) -> None:
        assert self._supervisor is not None
        end_s = self._clock.monotonic_s() + limit_s
        while self._supervisor.poll() is None:  # short waits, so that a second Ctrl-C is seen at once
            if self._clock.monotonic_s() > end_s:
                self._supervisor.kill()
            self._clock.wait(threading.Event(), LOOK_S)

    def _last_words(self) -> str:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = [line for line in lines if line.startswith(WORKER_SAYS)]
        return (said or lines or ["the worker ended without a word"])[-1]


def known_cards(config: Config) -> list[ModelCard]:
    """Return the models that the worker will serve, as far as they can be known without loading them."""
    if config.models_file is not None:
        specs = list(read_models_file(config.models_file).values())
    else:
        folder = find_bundled_folder()
        specs = [bundled_spec(folder)] if folder else []
    # Of a hub name and of a broken model nothing is known: its size least of all.
    return [card for spec in specs if (card := card_of(spec)).prediction_type]


def supervisor_command() -> list[str]:
    """Return how the supervisor is started. Raises ModelNotLoadable where the worker is not installed."""
    if importlib.util.find_spec(WORKER_PACKAGE) is None or importlib.util.find_spec("torch") is None:
        raise ModelNotLoadable("the worker is not installed here: pip install 'sigmafarm[worker]'")
    return [sys.executable, "-m", WORKER_PACKAGE]
