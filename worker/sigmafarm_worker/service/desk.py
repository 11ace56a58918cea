"""The jobs that a worker holds, and what is told about them: beats to the store, drops to the engine.

One desk per process. Celery's threads put jobs on it and take them off; the renewer reads it every quarter lease. What
lies on it are tries, told apart by job and fence: a job that was cancelled and queued again may come back while its
older try is still drawn. Then the newer one counts, and the older leaves the engine at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from sigmafarm_common.clock import Clock
from sigmafarm_common.states import Outcome
from sigmafarm_common.store.values import Beat, Claim, DropReason, Try
from sigmafarm_worker.drawing_engine import DrawingEngine

if TYPE_CHECKING:
    from sigmafarm_worker.drawing_engine import Glimpse, Rendered

#: Longest wait for a look between two steps.
GLIMPSE_LIMIT_S = 5.0
#: An engine counts as standing still after stall_s, but never before this many of its own steps.
STALL_STEPS = 10

_log = structlog.get_logger("sigmafarm.worker")


class GivenPictures(NamedTuple):
    """What a job begins with, of its size; None for what it does not name."""

    #: uint8 [H, W, 3], RGB.
    init_image: NDArray[np.uint8] | None = None
    #: uint8 [H, W]: 255 is drawn anew, 0 stays.
    mask_image: NDArray[np.uint8] | None = None


class Phase(Enum):
    """What is being done for a held job."""

    #: In the engine: waiting for a slot or drawn.
    DRAWING = auto()
    #: Encoded and uploaded; where that cannot be, kept until it can.
    STORING = auto()
    #: Its end without a picture is told to the store; while that is away, until it is back.
    TELLING = auto()


NOTHING_GIVEN = GivenPictures()


class HeldJob:
    """One claimed job on its way through this process."""

    def __init__(self, claim: Claim, now_s: float):
        self.claim = claim
        self.phase = Phase.DRAWING
        self.future: Future[Rendered] | None = None
        self.step = 0
        self.moved_s = now_s
        #: Why the job must be let go, once that is known.
        self.drop_outcome: Outcome | None = None
        #: Set when who waits with this job's picture is to look again: it may be let go, or delivered.
        self.wake = threading.Event()


class Desk:
    """The held tries. Safe for threads."""

    def __init__(self, engine: DrawingEngine, clock: Clock, *, stall_s: float):
        self._engine, self._clock, self._stall_s = engine, clock, stall_s
        self._jobs: dict[Try, HeldJob] = {}
        self._lock = threading.Lock()
        self._is_empty = threading.Event()
        self._is_empty.set()
        self.is_handing_back = False
        self.num_done = 0

    @property
    def num_jobs(self) -> int:
        return len(self._jobs)

    def hold(self, claim: Claim) -> HeldJob:
        """Put a claimed job on the desk. An older try of the same job is dropped: its claim holds no more."""
        held = HeldJob(claim, self._clock.monotonic_s())
        with self._lock:
            older = [tried for tried in self._jobs if tried.job_id == claim.job_id]
            self._jobs[claim.tried] = held
            self._is_empty.clear()
            if self.is_handing_back:
                held.drop_outcome = Outcome.RELEASED
        for tried in older:
            self.drop(tried, Outcome.LOST)
        return held

    def draw(self, held: HeldJob, given: GivenPictures = NOTHING_GIVEN) -> Rendered:
        """Have a held job drawn and wait for it. Raises Dropped when it is to be let go, and what the engine raises."""
        future = self._engine.submit(
            held.claim.request, on_step=lambda step, _: self._note_step(held, step), **given._asdict()
        )
        held.future = future
        if held.drop_outcome is not None:
            self._engine.drop(future, held.drop_outcome)
        return future.result()

    def _note_step(self, held: HeldJob, step: int) -> None:
        held.step = step
        held.moved_s = self._clock.monotonic_s()

    def let_go(self, held: HeldJob, *, is_done: bool) -> None:
        """Take a job off the desk, whatever became of it."""
        with self._lock:
            self.num_done += is_done
            self._jobs.pop(held.claim.tried, None)
            if not self._jobs:
                self._is_empty.set()

    def drop(self, tried: Try, outcome: Outcome) -> bool:
        """Have a try leave the engine between two steps, or its picture be stored no further; its thread then does what
        the outcome asks for. Return whether that is news. A pause lets no finished picture go."""
        with self._lock:
            held = self._jobs.get(tried)
        if held is None or held.drop_outcome is not None:
            return False
        is_drawn = held.phase is Phase.STORING
        if is_drawn and outcome is Outcome.PAUSED:
            return False
        held.drop_outcome = outcome
        held.wake.set()
        if held.future is not None and not is_drawn:
            self._engine.drop(held.future, outcome)
        return True

    def drop_all(self, drops: Mapping[Try, DropReason]) -> None:
        """Drop what the store says."""
        for tried, reason in drops.items():
            if self.drop(tried, Outcome(reason)):
                _log.info("job is dropped", job=tried.job_id, fence=str(tried.fence), reason=reason.value)

    def hand_back(self) -> None:
        """Drop every job that is still drawn or waits to be stored, and every one that comes later."""
        with self._lock:
            self.is_handing_back = True
        for tried in self.tries():
            self.drop(tried, Outcome.RELEASED)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until no job is held, and return whether that is so."""
        return self._is_empty.wait(timeout_s)

    def held(self) -> list[HeldJob]:
        """Return what is held, with all that is known of it."""
        with self._lock:
            return list(self._jobs.values())

    def tries(self) -> list[Try]:
        """Return what is held."""
        with self._lock:
            return list(self._jobs)

    def beats(self) -> list[Beat]:
        """Return what the store is to hear of every held job."""
        with self._lock:
            jobs = list(self._jobs.values())
        now_s = self._clock.monotonic_s()
        return [Beat(h.claim.job_id, h.claim.fence, h.step, self._has_moved(h, now_s)) for h in jobs]

    def _has_moved(self, held: HeldJob, now_s: float) -> bool:
        if held.phase is not Phase.DRAWING:
            return True
        # A job without a step yet waits for a slot: the engine's own signs of life speak for it.
        moved_s = held.moved_s if held.step else max(held.moved_s, self._engine.last_beat_s)
        return now_s - moved_s <= self.allowance_s

    @property
    def allowance_s(self) -> float:
        """Seconds without a step after which a job, or the engine, counts as standing still."""
        return max(self._stall_s, STALL_STEPS * self._engine.stats.step_s)

    def glimpses(self) -> list[tuple[Claim, Glimpse]]:
        """Return what every picture that is being drawn is becoming, with the claim that it is drawn under."""
        seen = self._engine.glimpses(GLIMPSE_LIMIT_S)
        with self._lock:
            claims = {id(held.future): held.claim for held in self._jobs.values()}
        return [(claims[id(g.future)], g) for g in seen if id(g.future) in claims]

    def is_engine_alive(self) -> bool:
        """Whether the engine has given a sign of life in time."""
        return self._clock.monotonic_s() - self._engine.last_beat_s <= self.allowance_s
