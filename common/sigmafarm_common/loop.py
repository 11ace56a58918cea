"""A part that runs again and again in a thread of its own: start, stop, and a run_once that tests call."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import structlog

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.errors import FarmUnavailable

#: Seconds that stop waits for a round to end.
STOP_WAIT_S = 10.0


class Loop(ABC):
    """Runs run_once every tick_s seconds. An error in a round is logged and the next round comes: a loop never dies."""

    def __init__(self, name: str, tick_s: float, clock: Clock | None = None):
        self.name = name
        self.tick_s = tick_s
        self.clock: Clock = clock or SystemClock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger(name)
        self._is_away = False

    @abstractmethod
    def run_once(self) -> object:
        """Do one round."""

    def next_round(self) -> object:
        """Do one round in the loop's own thread."""
        return self.run_once()

    def pause(self) -> None:
        """Wait between two rounds: until the next is due, or the loop is stopped. Must not raise."""
        self.clock.wait(self._stopped, self.tick_s)

    def on_stop(self) -> None:  # noqa: B027 - most loops wait for nothing else
        """End a wait of the thread that the event of the stop does not end."""

    def on_away(self) -> None:  # noqa: B027 - most loops have nothing to do then
        """Take note that a service did not answer in this round."""

    def start(self) -> None:
        """Start the thread. Saying it twice starts one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end and wait for it, at most STOP_WAIT_S. Saying it twice is saying it once."""
        self._stopped.set()
        if self._thread is not None:
            self.on_stop()
            self._thread.join(STOP_WAIT_S)

    def run_now(self) -> None:
        """Do one round in the caller's thread, with the guard of the loop around it."""
        self._guarded(self.run_once)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._guarded(self.next_round)
            self.pause()

    def _guarded(self, do: Callable[[], object]) -> bool:
        """Do something; return whether it was done. What it raises is logged."""
        try:
            do()
        except FarmUnavailable as error:
            self.on_away()
            if not self._is_away:
                self._log.warning("service away", error=str(error))
            self._is_away = True
        except Exception:
            self._log.exception("round failed")
        else:
            if self._is_away:
                self._log.info("service is back")
            self._is_away = False
            return True
        return False
