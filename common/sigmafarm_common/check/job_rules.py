"""What must hold for every row of a sealed batch. Pure functions over one JobSeen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sigmafarm_common.check.seen import JobSeen
from sigmafarm_common.check.spoiled import OUTSIDE, job_faults
from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.states import JobState

#: The cure for a job that stands in the wrong places: both moves set all of them right.
REQUEUE = "`sigmafarm cancel {0}`, then `sigmafarm retry {0}` queues it anew"


@dataclass(frozen=True)
class Limits:
    """What the checker was told."""

    max_attempts: int
    max_losses: int
    #: Whether the farm is said to have come to its end: then no job may be open, and nothing waits for a sweep.
    is_final: bool = False


def job_violations(job: JobSeen, limits: Limits) -> Iterator[Violation]:
    """Yield what is wrong with a job."""
    record = _record(job)
    if record is not None:
        yield record
        return
    yield from (
        _of(job, Rule.RECORD, f"{fault}: {OUTSIDE}") for fault in job_faults(job.fields, job.request, job.history)
    )
    yield from _index(job)
    if job.state == JobState.QUEUED and not job.is_batch_cancelling:
        yield from _waiting(job)
    if job.state == JobState.RUNNING:
        yield from _running(job)
    yield from _ready(job)
    yield from _tries(job, limits)
    if limits.is_final and not job.is_terminal:
        yield _of(job, Rule.UNFINISHED, f"is {job.state}: it never reached an end; start a worker, or cancel it")


def _record(job: JobSeen) -> Violation | None:
    cure = "the records were changed from outside; restore them, or cancel the batch"
    if not job.fields:
        return _of(job, Rule.RECORD, f"has no record, and its batch has the row {job.row}: {cure}")
    if (job.fields.get("batch"), job.fields.get("row")) != (job.batch_id, str(job.row)):
        said = f"row {job.fields.get('row')!r} of batch {job.fields.get('batch')!r}"
        return _of(job, Rule.RECORD, f"says that it is {said}: {cure}")
    if job.state not in set(JobState):
        return _of(job, Rule.RECORD, f"says that it is {job.state!r}, which is no state: {cure}")
    if not job.has_request:
        return _of(job, Rule.RECORD, f"has lost its request: nobody knows what to draw; {cure}")
    return None


def _index(job: JobSeen) -> Iterator[Violation]:
    if job.indexes != frozenset({job.state}):
        found = _listed(job.indexes) or "none"
        yield _of(job, Rule.INDEX, f"is {job.state}, and stands in the index of {found}: {REQUEUE.format(job.id)}")


def _waiting(job: JobSeen) -> Iterator[Violation]:
    places = [f"ready for {m}" for m in sorted(job.ready)] + [f"dispatched to {m}" for m in sorted(job.dispatched)]
    places += ["delayed"] if job.is_delayed else []
    if len(places) != 1:
        found = _listed(places) or "nowhere"
        yield _of(job, Rule.WAITING, f"is queued, and waits {found} instead of in one place: {REQUEUE.format(job.id)}")


def _running(job: JobSeen) -> Iterator[Violation]:
    lacks = [
        what
        for what, has in (
            ("a fence", job.number("fence") >= 1),
            ("a worker", bool(job.worker)),
            (f"a lease for {job.model}", job.model in job.leased),
            (f"a place in the hands of {job.worker or 'its worker'}", job.worker in job.holders),
        )
        if not has
    ]
    if lacks:
        yield _of(job, Rule.RUNNING, f"is running, and lacks {_listed(lacks)}: {REQUEUE.format(job.id)}")


def _ready(job: JobSeen) -> Iterator[Violation]:
    wrong = job.ready - ({job.model} if job.state == JobState.QUEUED else set[str]())
    if wrong:
        said = f"is {job.state} with model {job.model}, and stands ready for {_listed(sorted(wrong))}"
        yield _of(job, Rule.STALE_READY, f"{said}: {REQUEUE.format(job.id)}")


def _tries(job: JobSeen, limits: Limits) -> Iterator[Violation]:
    for rule, name, limit in (
        (Rule.ATTEMPTS, "attempts", limits.max_attempts),
        (Rule.LOSSES, "losses", limits.max_losses),
    ):
        if job.number(name) > limit:
            said = f"counts {job.number(name)} {name}, and SIGMAFARM_MAX_{name.upper()} is {limit}"
            yield _of(job, rule, f"{said}: set it alike on every machine, or cancel the job")


def _of(job: JobSeen, rule: Rule, said: str) -> Violation:
    return Violation(rule, job.id, f"job {job.id} {said}", job.batch_id)


def _listed(words: list[str] | frozenset[str]) -> str:
    return " and ".join(sorted(words) if isinstance(words, frozenset) else words)
