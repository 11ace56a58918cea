"""The farm's protocol, small enough to be looked at whole: what jobs, workers and the keeper do, and what befalls them.

An event takes a state and gives the state after it. What the farm does is progress: somebody does it sooner or later.
What users do and what goes wrong is bounded by a budget, and happens at any moment or never. No time: a lease that may
run out runs out now or later. Pictures and tries are called by the token of their claim, which is never given twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.small_model.farm_state import (
    CANCELLED,
    DEAD,
    FAILED,
    FROZEN,
    LOST,
    NOTHING,
    QUEUED,
    RUNNING,
    SENT,
    SUCCEEDED,
    UP,
    Job,
    State,
    Try,
    Worker,
    put,
    with_job,
    with_try,
)

MAX_LOSSES = MAX_ATTEMPTS = 2


class Rules(NamedTuple):
    """What the farm keeps to. Each is broken by a test, to see that it is needed."""

    compares_token: bool = True
    keys_hold_token: bool = True
    terminal_is_final: bool = True
    stores_before_finish: bool = True
    takes_back: bool = True
    forgets_calls: bool = True
    sweeps: bool = True


class Event(NamedTuple):
    name: str
    after: State
    #: Whether it happens sooner or later where it can.
    is_progress: bool = True


def holds(job: Job, tried: Try, rules: Rules) -> bool:
    """Whether a try is the one that the job runs under."""
    may_run = job.state is RUNNING or not rules.terminal_is_final
    is_same = tried.token == job.token if rules.compares_token else tried.number == job.number
    return may_run and is_same


def key_of(tried: Try, rules: Rules) -> int:
    return tried.token if rules.keys_hold_token else tried.number


def without(job: Job, key: int) -> frozenset[tuple[int, int]]:
    return frozenset(each for each in job.pictures if each[0] != key)


def events(s: State, rules: Rules) -> Iterator[Event]:
    """Yield all that may happen next."""
    for j, job in enumerate(s.jobs):
        yield from of_keeper(s, j, job, rules)
        yield from of_users(s, j, job)
        for w, worker in enumerate(s.workers):
            if worker.health == UP:
                yield from of_worker(s, w, j, job, worker.tries[j], rules)
    for w, worker in enumerate(s.workers):
        yield from of_process(s, w, worker)
    if s.is_paused:
        yield Event("resume", s._replace(is_paused=False))
    elif s.wishes:
        yield Event("pause", s._replace(is_paused=True, wishes=s.wishes - 1), is_progress=False)
    if rules.sweeps and all(job.state.is_terminal for job in s.jobs):
        swept = tuple(job._replace(pictures=job.pictures - without(job, job.key)) for job in s.jobs)
        yield Event("sweep", s._replace(jobs=swept))


def of_keeper(s: State, j: int, job: Job, rules: Rules) -> Iterator[Event]:
    if job.state is QUEUED and not s.is_paused and not job.call:
        yield Event(f"dispatch {j}", with_job(s, j, call=SENT))
    if job.call and rules.forgets_calls:
        yield Event(f"call of {j} is forgotten", with_job(s, j, call=""))
    if job.call == SENT and s.faults:
        yield Event(f"call of {j} is lost", with_job(fault(s), j, call=LOST), is_progress=False)
    if job.state is RUNNING and rules.takes_back:
        worker = s.workers[job.worker]
        if worker.health != UP:
            after = FAILED if job.losses + 1 >= MAX_LOSSES else QUEUED
            yield Event(f"lease of {j} ran out", with_job(s, j, losses=job.losses + 1, state=after))
        elif worker.tries[j].token != job.token:  # it lives, and does not speak of it
            yield Event(f"claim of {j} lapsed", with_job(s, j, state=QUEUED))


def fault(s: State) -> State:
    return s._replace(faults=s.faults - 1)


def of_users(s: State, j: int, job: Job) -> Iterator[Event]:
    wished = s._replace(wishes=s.wishes - 1)
    if s.wishes and not job.state.is_terminal:
        yield Event(f"cancel {j}", with_job(wished, j, state=CANCELLED, call=""), is_progress=False)
    if s.wishes and job.state in (FAILED, CANCELLED):
        yield Event(f"retry {j}", with_job(wished, j, state=QUEUED, attempts=0, losses=0), is_progress=False)


def of_worker(s: State, w: int, j: int, job: Job, tried: Try, rules: Rules) -> Iterator[Event]:
    if job.call == SENT and not s.is_paused:
        yield from claim(s, w, j, job)
    if tried.token and not tried.is_stored:
        key = key_of(tried, rules)
        stored = with_job(s, j, pictures=without(job, key) | {(key, tried.token)})
        yield Event(f"{w} stores {j}", with_try(stored, w, j, tried._replace(is_stored=True)))
        if s.faults and holds(job, tried, rules):
            failed = FAILED if job.attempts + 1 >= MAX_ATTEMPTS else QUEUED
            after = with_job(fault(s), j, state=failed, attempts=job.attempts + 1)
            yield Event(f"{w} fails with {j}", with_try(after, w, j, NOTHING), is_progress=False)
    if tried.token and (tried.is_stored or not rules.stores_before_finish):
        yield from finish(s, w, j, job, tried, rules)
    is_wanted = holds(job, tried, rules) or job.accepted == tried.token
    if tried.token and not is_wanted:
        yield Event(f"{w} drops {j}", let_go(s, w, j, job, tried, rules))
    if tried.token and not tried.is_stored and s.is_paused and holds(job, tried, rules):
        yield Event(f"{w} hands {j} back", with_try(with_job(s, j, state=QUEUED), w, j, NOTHING))


def claim(s: State, w: int, j: int, job: Job) -> Iterator[Event]:
    number, token = job.number + 1, s.num_claims + 1
    called = with_job(s, j, call="")._replace(num_claims=token)
    claimed = with_job(called, j, state=RUNNING, number=number, token=token, worker=w)
    yield Event(f"{w} claims {j}", with_try(claimed, w, j, Try(number, token)))
    if s.faults:
        yield Event(f"{w} claims {j}, the answer is lost", fault(claimed), is_progress=False)
        # The store comes back without its newest write: the number will be given again.
        forgotten = with_try(called, w, j, Try(number, token))
        yield Event(f"{w} claims {j}, the store forgets it", fault(forgotten), is_progress=False)


def finish(s: State, w: int, j: int, job: Job, tried: Try, rules: Rules) -> Iterator[Event]:
    if holds(job, tried, rules):
        finished = with_job(s, j, state=SUCCEEDED, accepted=tried.token, key=key_of(tried, rules))
        yield Event(f"{w} finishes {j}", with_try(finished, w, j, NOTHING))
        if s.faults:
            yield Event(f"{w} finishes {j}, the answer is lost", fault(finished), is_progress=False)
    elif job.accepted == tried.token:  # said again
        yield Event(f"{w} hears that {j} is finished", with_try(s, w, j, NOTHING))
    else:
        yield Event(f"{w} is refused {j}", let_go(s, w, j, job, tried, rules))


def let_go(s: State, w: int, j: int, job: Job, tried: Try, rules: Rules) -> State:
    """A worker ends a try that counts no more, and removes its picture."""
    return with_try(with_job(s, j, pictures=without(job, key_of(tried, rules))), w, j, NOTHING)


def of_process(s: State, w: int, worker: Worker) -> Iterator[Event]:
    def become(after: State, health: str, tries: tuple[Try, ...] = worker.tries) -> State:
        return after._replace(workers=put(s.workers, w, Worker(health, tries)))

    if worker.health == UP and s.faults:
        yield Event(f"{w} freezes", become(fault(s), FROZEN), is_progress=False)
    if worker.health != DEAD and s.faults:
        yield Event(f"{w} dies", become(fault(s), DEAD, (NOTHING,) * len(s.jobs)), is_progress=False)
    if worker.health == FROZEN:
        yield Event(f"{w} thaws", become(s, UP))
    if worker.health == DEAD:
        yield Event(f"{w} is replaced", become(s, UP))
