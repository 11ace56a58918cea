"""Waits for a batch or a job, with or without a bar on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import nullcontext, suppress
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sigmafarm.awaited import Awaited
from sigmafarm.console import PlainConsole
from sigmafarm.forecast import Forecaster, eta_words, turn_words
from sigmafarm.notebooks.bar import NotebookBar, is_in_notebook
from sigmafarm.pausing import POLL_S as POLL_S
from sigmafarm.pausing import Pause, patiently, run_through
from sigmafarm.takers import why_it_waits
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import FarmUnavailable
from sigmafarm_common.records import Batch, Counts, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide

#: The longest pause between two looks at a job that waits: each is longer than the one before.
LONGEST_POLL_S = 2.0
#: Pause between two looks at whether anybody takes its jobs: the first comes when a wait has lasted so long.
IDLE_LOOK_S = 3.0


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

    With `has_progress`, a bar is drawn (`progress_bar` says where), and why nothing moves is said beside it, once for
    each reason.

    Raises NotFound, RecordsLost if the batch goes meanwhile, FarmUnavailable if the farm stays away for a minute, or
    what `on_look` raises.
    """
    wait = batch_wait(store, batch_id, clock, has_progress=has_progress, timeout_s=timeout_s, on_look=on_look)
    return run_through(wait, clock)


def batch_wait(
    store: ReadSide,
    batch_id: str,
    clock: Clock,
    *,
    has_progress: bool = False,
    timeout_s: float | None = None,
    on_look: Callable[[], None] = lambda: None,
) -> Generator[Pause, None, Counts]:
    """Return the wait for a batch as work with pauses: for a thread (`wait_for_batch`), or for an event loop."""
    end_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
    with progress_bar(tells_time_left=False) if has_progress else nullcontext() as bar:
        show = _Shown(store, batch_id, clock, bar) if isinstance(bar, Progress) else _show_nothing
        read = Awaited(lambda: store.batch(batch_id), f"batch {batch_id}")
        while True:
            batch = yield from patiently(read, clock)
            counts = batch.counts
            show(batch)
            if counts.is_done or (end_s is not None and clock.monotonic_s() >= end_s):
                return counts
            on_look()
            yield Pause(POLL_S)


def wait_for_job(store: ReadSide, job_id: str, clock: Clock) -> Job:
    """Return a job once it is terminal, with a bar of its steps, and why it is drawn anew, or not at all.

    Raises NotFound, RecordsLost if the job goes meanwhile, or FarmUnavailable if the farm stays away for a minute.
    """
    return run_through(job_wait(store, job_id, clock), clock)


def job_wait(store: ReadSide, job_id: str, clock: Clock) -> Generator[Pause, None, Job]:
    """Return the wait for a job as work with pauses."""
    batch_id = job_id.rpartition("-")[0]
    with progress_bar() as bar:
        tell, task = _printer(bar.console), bar.add_task(job_id, total=None, note="")
        idleness, forecaster = Idleness(store, clock, tell), Forecaster(store, clock)
        num_tries, pause_s = None, POLL_S
        read = Awaited(lambda: store.job(job_id), f"job {job_id}")
        read_batch = Awaited(lambda: store.batch(batch_id), f"batch {batch_id}")
        while True:
            job = yield from patiently(read, clock)
            for each in [] if job.state.is_terminal else job.history[-1 if num_tries is None else num_tries :]:
                on, why = f" on worker {each.worker}" if each.worker else "", f": {each.error}" if each.error else ""
                tell(f"a try ended without a picture ({each.outcome}{on}){why}")
            num_tries = len(job.history)
            is_waiting = job.state is JobState.QUEUED
            turn = _turn(forecaster, job) if is_waiting else ""
            bar.update(task, total=job.num_steps, completed=job.step, note=turn or job.state)
            if job.state.is_terminal:
                return job
            if is_waiting and idleness.is_due:
                idleness.look((yield from patiently(read_batch, clock)))
            pause_s = min(1.5 * pause_s, LONGEST_POLL_S) if is_waiting else POLL_S
            yield Pause(pause_s)


def _turn(forecaster: Forecaster, job: Job) -> str:
    """Return where a waiting job stands in words, empty where nobody knows just now."""
    with suppress(FarmUnavailable):
        return turn_words(*forecaster.of_job(job))
    return ""


def progress_bar(console: Console | None = None, *, tells_time_left: bool = True) -> Progress:
    """Return the house's progress bar: in a notebook beneath the cell; else on stderr, silent where that is no
    terminal."""
    if console is None and is_in_notebook():
        return NotebookBar(PlainConsole(stderr=True))
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

    @property
    def is_due(self) -> bool:
        """Whether the next look says something: a few times a minute."""
        return self._clock.monotonic_s() >= self._next_s

    def look(self, batch: Batch) -> None:
        """Look at a batch, where a look is due. A farm that is away says nothing."""
        if not self.is_due:
            return
        self._next_s = self._clock.monotonic_s() + IDLE_LOOK_S
        with suppress(FarmUnavailable):
            self.why = why_it_waits(self._store, batch)
            if self.why and self.why not in self._said:
                self._said.add(self.why)
                self._say(self.why)


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
        self._idleness.look(batch)
        running, failed = f"{counts.running} running", f"{counts.failed} failed" if counts.failed else ""
        parts = [f"{counts.percent_done}%", running, failed, self._time_left(batch)]
        note, done = ", ".join(filter(None, parts)), counts.num_terminal
        # the notebook's bar shows each state
        self._bar.update(self._task, total=counts.total, completed=done, note=note, counts=counts)

    def _time_left(self, batch: Batch) -> str:
        """Return how long a batch will take; empty where nobody knows."""
        if self._clock.monotonic_s() >= self._next_s:
            self._next_s = self._clock.monotonic_s() + IDLE_LOOK_S
            with suppress(FarmUnavailable):
                self._left = eta_words(self._forecaster.of_batch(batch))
        return f"{self._left} left" if self._left and not self._idleness.why and not batch.is_paused else ""


def _show_nothing(_: Batch) -> None:
    return None
