"""Waits for a batch, with or without a bar on the terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sigmafarm.console import PlainConsole
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import FarmUnavailable
from sigmafarm_common.records import Batch, Counts
from sigmafarm_common.store.protocol import ReadSide

#: Pause between two looks at a batch.
POLL_S = 0.25
#: How long a farm may be away before a wait gives up.
PATIENCE_S = 60.0


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

    Raises NotFound, FarmUnavailable if the farm stays away for a minute, or what `on_look` raises.
    """
    end_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
    look = _Patient(store, batch_id, clock)
    with progress_bar() if has_progress else nullcontext() as bar:
        show = _shown_on(bar, batch_id) if bar else _show_nothing
        while True:
            counts = look().counts
            show(counts)
            if counts.is_done or (end_s is not None and clock.monotonic_s() >= end_s):
                return counts
            on_look()
            clock.wait(threading.Event(), POLL_S)


def progress_bar(console: Console | None = None) -> Progress:
    """Return the house's progress bar, on stderr, silent where that is no terminal."""
    console = console or PlainConsole(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class _Patient:
    """Reads a batch, again and again while its farm is away, but not for ever."""

    def __init__(self, store: ReadSide, batch_id: str, clock: Clock):
        self._store, self._batch_id, self._clock = store, batch_id, clock

    def __call__(self) -> Batch:
        give_up_s = self._clock.monotonic_s() + PATIENCE_S
        while True:
            try:
                return self._store.batch(self._batch_id)
            except FarmUnavailable as error:
                if not error.retryable or self._clock.monotonic_s() >= give_up_s:
                    raise
                self._clock.wait(threading.Event(), 4 * POLL_S)


def _shown_on(bar: Progress | AbstractContextManager[None], batch_id: str) -> Callable[[Counts], None]:
    assert isinstance(bar, Progress)
    task = bar.add_task(batch_id, total=None, note="")

    def show(counts: Counts) -> None:
        note = f"{counts.running} running, {counts.failed} failed" if counts.failed else f"{counts.running} running"
        bar.update(task, total=counts.total, completed=counts.num_terminal, note=note)

    return show


def _show_nothing(_: Counts) -> None:
    return None
