"""Holds what a real farm told in its event stream against the moves that the small model makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sigmafarm_common.states import TRANSITIONS, JobState
from sigmafarm_common.store.values import Event, EventKind

#: Every move of a job; the model makes these and no others (tests/test_small_model.py).
MOVES = frozenset((move.source, move.target) for move in TRANSITIONS)
#: What events of single jobs tell.
STATES = {
    EventKind.JOB_QUEUED: JobState.QUEUED,
    EventKind.JOB_RUNNING: JobState.RUNNING,
    EventKind.JOB_SUCCEEDED: JobState.SUCCEEDED,
    EventKind.JOB_FAILED: JobState.FAILED,
    EventKind.JOB_CANCELLED: JobState.CANCELLED,
}
#: What a cancel or retry of a whole batch makes of jobs in these states, one by one, of which it tells nothing.
SILENT = {
    EventKind.BATCH_CANCELLED: (frozenset({JobState.QUEUED, JobState.RUNNING}), JobState.CANCELLED),
    EventKind.BATCH_RETRIED: (frozenset({JobState.FAILED, JobState.CANCELLED}), JobState.QUEUED),
}


def impossible(events: Sequence[Event], *, is_whole: bool = True) -> Iterator[str]:
    """Yield the events that no job could have had by the model. `is_whole` says that the stream begins with the farm:
    else a job may be anything before its first event."""
    silent = {(event.batch_id, event.kind) for event in events if event.kind in SILENT}
    first = frozenset({JobState.QUEUED}) if is_whole else frozenset(JobState)
    known: dict[str, frozenset[JobState]] = {}
    for event in events:
        now = STATES.get(EventKind(event.kind))
        if now is None:
            continue
        before = _after(known.get(event.job_id, first), [kind for kind in SILENT if (event.batch_id, kind) in silent])
        if not any((was, now) in MOVES for was in before):
            yield f"{event.id}: {event.job_id} is {now} after it was {' or '.join(sorted(before))}"
        known[event.job_id] = frozenset({now})


def _after(states: frozenset[JobState], silent: Sequence[EventKind]) -> frozenset[JobState]:
    """Return what a job may be whose batch is cancelled or retried, as soon as one of its states allows it."""
    for kind in (*silent, *silent):  # a retry after a cancel, and a cancel after that
        sources, target = SILENT[kind]
        states |= {target} if states & sources else set()
    return states
