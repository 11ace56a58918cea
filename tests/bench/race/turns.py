"""Contenders that live in turns of the same machine: while one runs, the processes of the others are stopped, and their
time with them.

Runs one after the other meet a machine that is faster at one time than at another, and near the limit of a queue a
tenth of speed decides who waits; runs at the same time share cores that each would have alone.
"""

from __future__ import annotations

import os
import signal
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from tests.bench.race.contenders import Contender
from tests.bench.race.loads import Asked

#: Seconds of a turn: long against a UNet pass, short against the minutes in which a machine changes.
TURN_S = 2.0
#: That of a backlog. A core of these machines changes its speed by half within seconds, and four take part.
BACKLOG_TURN_S = 0.3
#: Seconds between two looks at what came due.
LOOK_S = 0.01


class OwnTime:
    """What a clock shows that stands still between a contender's turns: all times in seconds, the machine's since 1970,
    the contender's since its first turn."""

    def __init__(self) -> None:
        #: When each turn began and ended, by the machine's time.
        self._turns: list[tuple[float, float]] = []
        #: The sum of all turns.
        self.total_s = 0.0

    def add_turn(self, began_s: float, ended_s: float) -> None:
        self._turns.append((began_s, ended_s))
        self.total_s += ended_s - began_s

    def at(self, machine_s: float) -> float:
        """Return the own time at one of the machine's: between two turns, that of the end of the earlier one."""
        return sum(min(machine_s, ended) - began for began, ended in self._turns if machine_s > began)


class Visitor:
    """One contender that meets its arrivals, in turns."""

    def __init__(self, contender: Contender, asked: Sequence[Asked], times_s: Sequence[float]):
        self.contender = contender
        self._asked, self._times_s = asked, times_s
        self._own = OwnTime()
        self._jobs: list[str] = []

    @property
    def is_done(self) -> bool:
        return len(self._jobs) == len(self._asked) and self.contender.are_stored(self._jobs)

    def stop(self) -> None:
        for pid in self.contender.pids():
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        for pid in reversed(self.contender.pids()):
            os.kill(pid, signal.SIGCONT)

    def take_turn(self, turn_s: float) -> None:
        """Run for so long, and submit what comes due meanwhile."""
        self.go_on()
        began_s = time.time()
        while (passed_s := time.time() - began_s) < turn_s:
            num_due = bisect_right(self._times_s, self._own.total_s + passed_s)
            if num_due > (num := len(self._jobs)):
                self._jobs += self.contender.submit(self._asked[num:num_due])
            time.sleep(LOOK_S)
        self.stop()
        self._own.add_turn(began_s, time.time())

    def latencies_s(self) -> list[float]:
        """Return from when each job was to come until it was stored, in its own time."""
        stored = self.contender.wait(self._jobs)
        return [self._own.at(stored[job]) - at_s for job, at_s in zip(self._jobs, self._times_s, strict=True)]


def latencies_in_turns_s(
    contenders: Iterable[Contender], asked: Sequence[Asked], times_s: Sequence[float], turn_s: float = TURN_S
) -> dict[str, list[float]]:
    """Let each contender meet the same arrivals, and return its latencies by its name."""
    visitors = [Visitor(each, asked, times_s) for each in contenders]
    for visitor in visitors:
        visitor.stop()
    try:
        while waiting := [each for each in visitors if not each.is_done]:
            for visitor in waiting:
                visitor.take_turn(turn_s)
                if visitor.is_done:
                    visitor.go_on()  # idle, and not away for so long that its farm takes it for dead
    finally:
        for visitor in visitors:
            visitor.go_on()
    return {each.contender.name: each.latencies_s() for each in visitors}


def backlog_in_turns_s(
    contenders: Sequence[Contender], asked: Sequence[Asked], turn_s: float = BACKLOG_TURN_S
) -> dict[str, float]:
    """Let each contender draw the same backlog, and return its seconds by its name, from the begin of the submit to the
    last picture stored."""
    latencies_s = latencies_in_turns_s(contenders, asked, [0.0] * len(asked), turn_s)
    return {name: max(each) for name, each in latencies_s.items()}
