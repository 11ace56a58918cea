"""Waits for a batch or a job, with or without a bar on the terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sigmafarm.console import PlainConsole
from sigmafarm.forecast import Forecaster, eta_words, turn_words
from sigmafarm.takers import why_it_waits
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import FarmUnavailable
from sigmafarm_common.records import Batch, Counts, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide

#: Pause between two looks at a batch, or at a job that is drawn; while one waits, each is longer, up to the other.
POLL_S, LONGEST_POLL_S = 0.25, 2.0
#: Pause between two looks at whether anybody takes its jobs: the first comes when a wait has lasted so long.
IDLE_LOOK_S = 3.0
#: How long a farm may be away before a wait gives up.
PATIENCE_S = 60.0

T = TypeVar("T")


def wait_for_batch(
    store: ReadSide,
    batch_id: str,
    clock: Clock,
    *,
    has_progress: bool = False,
    timeout_s: float | None = None,
    on_look: Callable[[], None] = lambda: None,
) -> Counts:
    """Return the counts once every job is terminal, or when the time is over.

    With `has_progress`, a bar is drawn on stderr, and why nothing moves is said there, once for each reason.

    Raises NotFound, FarmUnavailable if the farm stays away for a minute, or what `on_look` raises.
    """
    end_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
    look = Patient(lambda: store.batch(batch_id), clock)
    with progress_bar(tells_time_left=False) if has_progress else nullcontext() as bar:
        show = _Shown(store, batch_id, clock, bar) if isinstance(bar, Progress) else _show_nothing
        while True:
            batch = look()
            counts = batch.counts
            show(batch)
            if counts.is_done or (end_s is not None and clock.monotonic_s() >= end_s):
                return counts
            on_look()
            clock.wait(threading.Event(), POLL_S)


def wait_for_job(store: ReadSide, job_id: str, clock: Clock) -> Job:
    """Return a job once it is terminal, with a bar of its steps on stderr, and why it is drawn anew, or not at all.

    Raises NotFound, or FarmUnavailable if the farm stays away for a minute.
    """
    look = Patient(lambda: store.job(job_id), clock)
    batch = Patient(lambda: store.batch(job_id.rpartition("-")[0]), clock)
    with progress_bar() as bar:
        tell, task = _printer(bar.console), bar.add_task(job_id, total=None, note="")
        idleness, forecaster = Idleness(store, clock, tell), Forecaster(store, clock)
        num_tries, pause_s = None, POLL_S
        while True:
            job = look()
            for each in [] if job.state.is_terminal else job.history[-1 if num_tries is None else num_tries :]:
                on, why = f" on worker {each.worker}" if each.worker else "", f": {each.error}" if each.error else ""
                tell(f"a try ended without a picture ({each.outcome}{on}){why}")
            num_tries = len(job.history)
            is_waiting = job.state is JobState.QUEUED
            turn = _turn(forecaster, job) if is_waiting else ""
            bar.update(task, total=job.num_steps, completed=job.step, note=turn or job.state)
            if job.state.is_terminal:
                return job
            if is_waiting:
                idleness.look(batch)
            pause_s = min(1.5 * pause_s, LONGEST_POLL_S) if is_waiting else POLL_S
            clock.wait(threading.Event(), pause_s)


def _turn(forecaster: Forecaster, job: Job) -> str:
    """Return where a waiting job stands in words, empty where nobody knows just now."""
    with suppress(FarmUnavailable):
        return turn_words(*forecaster.of_job(job))
    return ""


def progress_bar(console: Console | None = None, *, tells_time_left: bool = True) -> Progress:
    """Return the house's progress bar, on stderr, silent where that is no terminal."""
    console = console or PlainConsole(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        *([TimeRemainingColumn()] if tells_time_left else []),
        console=console,
        disable=not console.is_terminal,
    )


class Idleness:
    """Says why nothing of a batch is drawn, once for each reason, when that has been so for a while."""

    def __init__(self, store: ReadSide, clock: Clock, say: Callable[[str], None]):
        self._store, self._clock, self._say = store, clock, say
        self._next_s = clock.monotonic_s() + IDLE_LOOK_S
        self._said: set[str] = set()
        #: Why nothing was drawn at the last look; empty where something was.
        self.why = ""

    def look(self, read: Callable[[], Batch]) -> None:
        """Look at a batch, a few times a minute though it is called often: only then is it read. A farm that is away
        says nothing."""
        if self._clock.monotonic_s() < self._next_s:
            return
        self._next_s = self._clock.monotonic_s() + IDLE_LOOK_S
        with suppress(FarmUnavailable):
            self.why = why_it_waits(self._store, read())
            if self.why and self.why not in self._said:
                self._said.add(self.why)
                self._say(self.why)


class Patient(Generic[T]):
    """Reads a record, again and again while its farm is away, but not for ever."""

    def __init__(self, read: Callable[[], T], clock: Clock):
        self._read, self._clock = read, clock

    def __call__(self) -> T:
        give_up_s = self._clock.monotonic_s() + PATIENCE_S
        while True:
            try:
                return self._read()
            except FarmUnavailable as error:
                if not error.retryable or self._clock.monotonic_s() >= give_up_s:
                    raise
                self._clock.wait(threading.Event(), 4 * POLL_S)


def _printer(console: Console) -> Callable[[str], None]:
    """Return what prints a sentence beside the bar, in one line where that is no terminal."""
    return partial(console.print, soft_wrap=True)


class _Shown:
    """Shows a batch on a bar, with how long it will take at the farm's pace, and says why nothing moves."""

    def __init__(self, store: ReadSide, batch_id: str, clock: Clock, bar: Progress):
        self._clock, self._bar = clock, bar
        self._task = bar.add_task(batch_id, total=None, note="")
        self._idleness = Idleness(store, clock, _printer(bar.console))
        self._forecaster = Forecaster(store, clock)
        self._left, self._next_s = "", 0.0

    def __call__(self, batch: Batch) -> None:
        counts = batch.counts
        self._idleness.look(lambda: batch)
        running, failed = f"{counts.running} running", f"{counts.failed} failed" if counts.failed else ""
        parts = [f"{counts.percent_done}%", running, failed, self._time_left(batch)]
        self._bar.update(
            self._task, total=counts.total, completed=counts.num_terminal, note=", ".join(filter(None, parts))
        )

    def _time_left(self, batch: Batch) -> str:
        """Return how long a batch will take; empty where nobody knows."""
        if self._clock.monotonic_s() >= self._next_s:
            self._next_s = self._clock.monotonic_s() + IDLE_LOOK_S
            with suppress(FarmUnavailable):
                self._left = eta_words(self._forecaster.of_batch(batch))
        return f"{self._left} left" if self._left and not self._idleness.why and not batch.is_paused else ""


def _show_nothing(_: Batch) -> None:
    return None
