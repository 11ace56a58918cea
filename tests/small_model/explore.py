"""Visits every state that the small model can reach, looks at each move, and sees that every state leads to an end.

    python -m tests.small_model.explore [--jobs 2] [--workers 2] [--faults 2] [--wishes 2]

Safety is looked at move by move. "Every job ends" is looked at under fairness: what can always happen happens, so that
it is enough that from each state the farm's own events lead to an end. A violation is told as the shortest story.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.small_model.farm_state import NOTHING, QUEUED, RUNNING, SUCCEEDED, State, begin
from tests.small_model.protocol import MAX_LOSSES, Event, Rules, events


@dataclass(frozen=True)
class Explored:
    """What was seen."""

    num_states: int
    num_moves: int
    num_ends: int
    #: What is wrong, and the events that lead there; empty where all holds.
    wrong: str = ""
    story: tuple[str, ...] = ()


def broken_at(before: State, event: Event) -> str:
    """Return the promise that a move breaks, empty if it breaks none."""
    for was, job in zip(before.jobs, event.after.jobs, strict=True):
        if was.state is SUCCEEDED and (job.state, job.accepted) != (SUCCEEDED, was.accepted):
            return "a job that has succeeded stays so, with its picture (I3)"
        if job.state is SUCCEEDED and was.state is not SUCCEEDED and job.accepted != was.token:
            return "only the newest claim's picture is accepted (I2)"
        if (job.state is SUCCEEDED) != bool(job.accepted):
            return "a job has a picture if it has succeeded, and else none (I2)"
        if job.accepted and (job.key, job.accepted) not in job.pictures:
            return "the picture that was accepted is there, and no other lies in its place (I4)"
        if job.call and job.state is not QUEUED:
            return "only queued jobs are called for (I5)"
        if job.losses > MAX_LOSSES or (job.losses == MAX_LOSSES and job.state in (QUEUED, RUNNING)):
            return "losses stay within their limit (I6)"
    return ""


def is_end(s: State) -> bool:
    """Whether all is done, nobody draws for nobody, and nothing lies about."""
    return all(
        job.state.is_terminal and job.pictures == ({(job.key, job.accepted)} if job.accepted else frozenset())
        for job in s.jobs
    ) and all(tried == NOTHING for worker in s.workers for tried in worker.tries)


def explore(
    first: State, rules: Rules | None = None, *, on_move: Callable[[State, State], object] = lambda *_: None
) -> Explored:
    """Visit every state that can be reached from the first, breadth first, up to the first promise that is broken."""
    rules = rules or Rules()
    numbers = {first: 0}
    #: How each state was reached first: from which, by what.
    reached: list[tuple[int, str]] = [(-1, "")]
    #: Which states lead here by the farm's own events.
    led_by: list[list[int]] = [[]]
    ends: list[int] = []
    queue, num_moves = deque([first]), 0
    while queue:
        s = queue.popleft()
        number = numbers[s]
        if is_end(s):
            ends.append(number)
        for event in events(s, rules):
            if event.after == s:
                continue
            num_moves += 1
            on_move(s, event.after)
            if wrong := broken_at(s, event):
                return Explored(len(numbers), num_moves, len(ends), wrong, (*_story(reached, number), event.name))
            after = numbers.setdefault(event.after, len(numbers))
            if after == len(reached):
                reached.append((number, event.name))
                led_by.append([])
                queue.append(event.after)
            if event.is_progress:
                led_by[after].append(number)
    stuck = _without_end(led_by, ends)
    if stuck is not None:
        return Explored(len(numbers), num_moves, len(ends), "every job ends", _story(reached, stuck))
    return Explored(len(numbers), num_moves, len(ends))


def _story(reached: list[tuple[int, str]], number: int) -> tuple[str, ...]:
    said: list[str] = []
    while number > 0:
        number, name = reached[number]
        said.append(name)
    return tuple(reversed(said))


def _without_end(led_by: list[list[int]], ends: list[int]) -> int | None:
    """Return the first state from which the farm's own events lead to no end, None if there is none."""
    leads, left = bytearray(len(led_by)), list(ends)
    for number in ends:
        leads[number] = 1
    while left:
        for before in led_by[left.pop()]:
            if not leads[before]:
                leads[before] = 1
                left.append(before)
    return next((number for number, does in enumerate(leads) if not does), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("jobs", "workers", "faults", "wishes"):
        parser.add_argument(f"--{name}", type=int, default=2)
    said = parser.parse_args()
    begun_s = time.monotonic()
    seen = explore(begin(said.jobs, said.workers, said.faults, said.wishes))
    print(f"{said.jobs} jobs, {said.workers} workers, {said.faults} faults, {said.wishes} wishes:", end=" ")
    print(f"{seen.num_states:,} states, {seen.num_moves:,} moves, {seen.num_ends:,} ends", end="; ")
    print(f"{time.monotonic() - begun_s:.0f} s")
    print("\n  ".join([f"broken: {seen.wrong}", *seen.story]) if seen.wrong else "every promise holds in each of them")
    raise SystemExit(bool(seen.wrong))


if __name__ == "__main__":
    main()
