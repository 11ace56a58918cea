"""The thread that steps an engine, and the box into which others post what they want done between two steps.

It refers to the stepper and never to the Engine in front of it, so that an engine which nobody refers to any more is
collected: its thread draws what it was given and ends. An interpreter that ends stops it, for a thread inside torch at
that moment would have the C++ runtime abort the process.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sigmafarm_common.errors import EngineStopped
from sigmafarm_worker.engine.failures import is_broken
from sigmafarm_worker.engine.stepping import Stepper
from sigmafarm_worker.telling import first_line, tell

#: Seconds between two signs of life while there is nothing to do.
IDLE_BEAT_S = 0.5

T = TypeVar("T")


class EngineThread:
    """Steps while it runs; `start`, `stop`, `post` and `ask` may be called from any thread."""

    def __init__(self, stepper: Stepper):
        self._stepper = stepper
        #: What others want done between two steps; the condition guards it and the two flags.
        self._posted: deque[Callable[[], object]] = deque()
        self._news = threading.Condition()
        self._is_stopping = False
        #: Nobody can ask for more: end when there is nothing left to do.
        self._is_forsaken = False
        self._thread: threading.Thread | None = None
        #: Held by whoever starts the thread or ends what it left.
        self._life = threading.Lock()

    @property
    def is_running(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self) -> None:
        """Run the loop. Does nothing while it runs."""
        with self._life:
            if self.is_running:
                return
            with self._news:
                self._is_stopping = False
            self._thread = threading.Thread(target=self._run, name="sigmafarm-engine", daemon=True)
            atexit.register(self._stop_at_exit)
            self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the loop after the step under way, and every job that is left, with EngineStopped."""
        with self._news:
            self._is_stopping = True
            self._news.notify_all()
        thread = self._thread
        if thread is threading.current_thread():
            return
        if thread is not None:
            thread.join(timeout_s)
        with self._life:
            if not self.is_running:
                self._thread = None
                self._clear("the engine was stopped")
                atexit.unregister(self._stop_at_exit)

    def forsake(self) -> None:
        """Draw what was asked for, then end. What waits for a thread that was never started ends at once."""
        with self._news:
            self._is_forsaken = True
            self._news.notify_all()
        if not self.is_running:
            self._clear("the engine was given up before it was started")

    def post(self, action: Callable[[], object]) -> bool:
        """Have something done between two steps. Return False when there will be no more steps."""
        with self._news:
            if self._is_stopping:
                return False
            self._posted.append(action)
            self._news.notify()
            return True

    def ask(self, look: Callable[[], T], timeout_s: float) -> T | None:
        """Return what a look at the lanes between two steps gives, None when no answer comes in time. Raises what the
        look raises: it is the asker's affair, and harms no job."""
        if self._thread is None or threading.current_thread() is self._thread:
            return look()
        answer: Future[T] = Future()
        if not self.post(lambda: _answer(answer, look)):
            return None
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            if answer.done():
                raise  # the look's own
            return None

    def do(self, action: Callable[[], T]) -> T:
        """Have something done by the thread that steps, and return its answer: this one, where none runs. Raises what
        it raises, and EngineStopped when there will be no more steps."""
        if not self.is_running or threading.current_thread() is self._thread:
            return action()
        answer: Future[T] = Future()
        if not self.post(lambda: _answer(answer, action)):
            raise EngineStopped("the engine has stopped")
        return answer.result()

    def take_posted(self) -> None:
        """Do what was posted. One thing that fails keeps no other from being done."""
        while self._posted:
            try:
                self._posted.popleft()()
            except Exception as error:
                tell("error", "engine.action_failed", error=repr(error), exc_info=error)
                if is_broken(error):
                    raise

    def _run(self) -> None:
        reason = "the engine was stopped"
        try:
            self._stepper.use_device()
            while not self._is_stopping:
                self.take_posted()
                if not self._stepper.step() and not self._wait_for_news():
                    break
        except BaseException as error:  # the outermost loop: our own mistake, or a device that only a new process mends
            tell("error", "engine.failed", exc_info=error)
            reason = f"the engine failed ({type(error).__name__}: {first_line(error)})"
        finally:
            with self._news:
                self._is_stopping = True
            self._clear(reason)

    def _wait_for_news(self) -> bool:
        """Wait until something was posted, or for a beat. Return False when nothing can come any more."""
        with self._news:
            if self._posted or self._is_stopping:
                return True
            if self._is_forsaken:
                return False
            self._news.wait(IDLE_BEAT_S)
            return True

    def _clear(self, reason: str) -> None:
        """End whatever is left. What was posted but not begun is taken first, to be ended too."""
        while self._posted:
            try:
                self.take_posted()
            except Exception as error:  # the device is broken, and nobody is drawn for any more
                tell("error", "engine.action_failed", error=repr(error))
        self._stepper.end_all(reason)

    def _stop_at_exit(self) -> None:
        # A forked child has this thread's object and not the thread: there is nothing to stop, and a lock may be held.
        if self.is_running:
            self.stop()


def _answer(answer: Future[T], look: Callable[[], T]) -> None:
    try:
        seen = look()
    except Exception as error:
        answer.set_exception(error)
        if is_broken(error):
            raise
    else:
        answer.set_result(seen)
