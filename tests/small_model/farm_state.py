"""What the small model knows of a farm, in values that never change."""

from __future__ import annotations

from typing import NamedTuple

from sigmafarm_common.states import JobState

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = JobState  # in their order there
UP, FROZEN, DEAD = "up", "frozen", "dead"
SENT, LOST = "sent", "lost"


class Job(NamedTuple):
    state: JobState = QUEUED
    #: Its wake-up call: none, on its way, or lost on it.
    call: str = ""
    #: Number, token and worker of the newest claim.
    number: int = 0
    token: int = 0
    worker: int = -1
    attempts: int = 0
    losses: int = 0
    #: The token of the picture that was accepted, 0 for none, and the key that was noted.
    accepted: int = 0
    key: int = 0
    #: What lies in the object store: keys, and the token of the try that put the picture there.
    pictures: frozenset[tuple[int, int]] = frozenset()


class Try(NamedTuple):
    """What a worker has of a job; token 0: nothing."""

    number: int = 0
    token: int = 0
    is_stored: bool = False


class Worker(NamedTuple):
    health: str = UP
    tries: tuple[Try, ...] = ()


class State(NamedTuple):
    jobs: tuple[Job, ...]
    workers: tuple[Worker, ...]
    is_paused: bool = False
    num_claims: int = 0
    #: What may still go wrong, and what users may still do.
    faults: int = 0
    wishes: int = 0


NOTHING = Try()


def begin(num_jobs: int, num_workers: int, faults: int, wishes: int) -> State:
    """Return the state after a submit."""
    worker = Worker(tries=(NOTHING,) * num_jobs)
    return State((Job(),) * num_jobs, (worker,) * num_workers, faults=faults, wishes=wishes)


def put(parts: tuple, at: int, part: object) -> tuple:
    return (*parts[:at], part, *parts[at + 1 :])


def with_job(s: State, j: int, **said: object) -> State:
    return s._replace(jobs=put(s.jobs, j, s.jobs[j]._replace(**said)))


def with_try(s: State, w: int, j: int, tried: Try) -> State:
    worker = s.workers[w]
    return s._replace(workers=put(s.workers, w, worker._replace(tries=put(worker.tries, j, tried))))
