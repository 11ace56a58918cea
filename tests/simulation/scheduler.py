"""Decides who runs next: tasks of simulated processes take turns at the points where they call a seam, and wait in a
time that passes only when nobody has anything to do. One seed gives one order of all that happens.

A task is a greenlet, so that the farm's own code, which waits by calling something that waits, need not know of it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from itertools import count
from random import Random

from greenlet import getcurrent, greenlet

#: Seconds since 1970 at which each simulation begins, and by the monotonic clocks.
FIRST_WALL_S, FIRST_S = 1_800_000_000.0, 1000.0


#: Turns between two looks at what tasks wait for, while others are ready.
WATCH_TURNS = 8
#: Turns between two looks whether all has come true.
END_TURNS = 32


class Ended(BaseException):
    """The process was ended: nothing more happens in it. No handler of the farm's catches it."""


class Process:
    """What is killed and frozen as one."""

    def __init__(self, name: str):
        self.name = name
        self.is_alive, self.is_frozen = True, False
        #: In the order of their start.
        self.tasks: dict[Task, None] = {}


class Task:
    """A thread of a simulated process."""

    __slots__ = ("condition", "process", "run", "wake_s")

    def __init__(self, process: Process, run: greenlet):
        self.process, self.run = process, run
        #: When it goes on at the latest, and what it waits for.
        self.wake_s = 0.0
        self.condition: Callable[[], bool] | None = None


class Stuck(Exception):
    """Nobody can do anything, and nobody waits for a time."""


class Scheduler:
    """Time, and whose turn it is."""

    def __init__(self, seed: int, switch_share: float = 0.25):
        """`switch_share` is how often a task gives way where it may."""
        self.chance = Random(seed)
        self.now_s = FIRST_S
        self.num_turns = 0
        self._share = switch_share
        self._ready: list[Task] = []
        #: Those that wait: by when they go on, and those that wait for something.
        self._timed: list[tuple[float, int, Task]] = []
        self._watching: list[Task] = []
        self._numbers = count()
        self._current: Task | None = None
        self._doomed: list[Process] = []
        self._hub = getcurrent()

    # From tasks

    @property
    def process_name(self) -> str:
        """The process whose turn it is."""
        return self._current.process.name if self._current else ""

    @property
    def task(self) -> Task:
        """The task whose turn it is."""
        assert self._current is not None, "nobody has the turn"
        return self._current

    def start(self, process: Process, do: Callable[[], object]) -> Task:
        """Run something as a task of a process."""

        def run() -> None:
            try:
                do()
            except Ended:
                pass
            finally:
                process.tasks.pop(task, None)

        task = Task(process, greenlet(run, parent=self._hub))
        process.tasks[task] = None
        self._ready.append(task)
        return task

    def give_way(self) -> None:
        """Let others have the turn, perhaps."""
        if self._current is not None and self.chance.random() < self._share:
            self._ready.append(self._current)
            self._leave()

    def wait(self, timeout_s: float, condition: Callable[[], bool] | None = None) -> bool:
        """Wait until a condition holds, or the time is over; return whether it holds."""
        task = self._current
        if task is None:
            raise Ended  # it is being unwound
        if condition is not None and condition():
            self.give_way()
            return True
        task.wake_s, task.condition = self.now_s + timeout_s, condition
        if timeout_s != float("inf"):
            heapq.heappush(self._timed, (task.wake_s, next(self._numbers), task))
        if condition is not None:
            self._watching.append(task)
        self._leave()
        return condition is not None and condition()

    def end(self, process: Process) -> None:
        """Kill a process. If it is the caller's own, the call does not return."""
        if process.is_alive:
            process.is_alive = False
            self._doomed.append(process)
        self.check()

    def check(self) -> None:
        """Go no further in a process that was ended."""
        if self._current is not None and not self._current.process.is_alive:
            raise Ended

    def _leave(self) -> None:
        self._hub.switch()
        self.check()

    # The loop

    def run(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Let tasks run until something is so; return False if it did not come true in so many virtual seconds."""
        end_s = self.now_s + limit_s
        while self.num_turns % END_TURNS or not until():
            self._bury()
            task = self._next(end_s)
            if task is None:
                return until()
            self.num_turns += 1
            self._current = task
            try:
                task.run.switch()
            finally:
                self._current = None
        return True

    def _next(self, end_s: float) -> Task | None:
        """Return whose turn it is, after as much time as must pass; None if that would be too much."""
        while True:
            if not self._ready or self.num_turns % WATCH_TURNS == 0:
                self._wake_watchers()
            while self._ready:
                place = self.chance.randrange(len(self._ready))
                task, self._ready[place] = self._ready[place], self._ready[-1]
                self._ready.pop()
                if not task.process.is_alive:
                    continue
                if task.process.is_frozen:
                    self._hold(task)
                    continue
                return task
            if not self._timed:
                raise Stuck("everybody waits, and for no time")
            wake_s = self._timed[0][0]
            if wake_s > end_s:
                self.now_s = max(self.now_s, end_s)
                return None
            self.now_s = max(self.now_s, wake_s)
            while self._timed and self._timed[0][0] <= self.now_s:
                self._wake_timed(heapq.heappop(self._timed))

    def _wake_watchers(self) -> None:
        woken = [task for task in self._watching if task.condition is not None and task.condition()]
        for task in woken:
            task.wake_s, task.condition = 0.0, None
            self._ready.append(task)
        if woken:
            self._watching = [task for task in self._watching if task.condition is not None]

    def _wake_timed(self, entry: tuple[float, int, Task]) -> None:
        wake_s, _, task = entry
        if task.wake_s != wake_s or not task.process.is_alive:
            return  # it went on before
        if task.condition is not None:
            task.condition = None
            self._watching.remove(task)
        task.wake_s = 0.0
        self._ready.append(task)

    def _hold(self, task: Task) -> None:
        """Keep a task of a frozen process until it thaws."""
        process = task.process
        task.wake_s, task.condition = 0.0, lambda: not process.is_frozen
        self._watching.append(task)

    def _bury(self) -> None:
        """Unwind what runs in ended processes."""
        for process in self._doomed:
            for task in list(process.tasks):
                task.condition = None
                if task.run:  # it was begun
                    task.run.throw(Ended)
            process.tasks.clear()
            self._watching = [each for each in self._watching if each.process is not process]
            self._ready = [each for each in self._ready if each.process is not process]
        self._doomed.clear()


class VirtualClock:
    """The clocks of simulated processes."""

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler

    def monotonic_s(self) -> float:
        return self._scheduler.now_s

    def wall_s(self) -> float:
        return FIRST_WALL_S + self._scheduler.now_s - FIRST_S

    def now_ms(self) -> int:
        """Return the server's time."""
        return int(1000 * self.wall_s())

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return self._scheduler.wait(timeout_s, event.is_set)
