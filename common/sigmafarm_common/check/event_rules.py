"""What must hold for the event stream, as far back as it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import EventKind

#: What an operator can do about a job whose end was not the last word.
REPORT = "this is a fault of the farm; keep the stream and the worker's log, and report it"


class EventJudge:
    """Reads the stream once, oldest event first; remembers the jobs that succeeded, and nothing else."""

    def __init__(self) -> None:
        #: The event that told of each job's success.
        self.succeeded: dict[str, str] = {}

    def violations(self, events: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[Violation]:
        """Yield what the order of the events breaks."""
        for event_id, fields in events:
            job_id, kind = fields.get("job", ""), fields.get("kind", "")
            if not job_id or kind == EventKind.JOB_RATED:
                continue
            if (first := self.succeeded.get(job_id)) is not None:
                is_second = kind == EventKind.JOB_SUCCEEDED
                rule = Rule.SUCCEEDED_TWICE if is_second else Rule.EVENT_AFTER_END
                said = f"job {job_id} succeeded at {first}, and the event {event_id} says {kind}: {REPORT}"
                yield Violation(rule, job_id, said)
            elif kind == EventKind.JOB_SUCCEEDED:
                self.succeeded[job_id] = event_id


def undone(states: Mapping[str, str]) -> Iterator[Violation]:
    """Yield the jobs that succeeded once and are something else now; those whose record has gone are no matter."""
    for job_id, state in states.items():
        if state != JobState.SUCCEEDED:
            yield Violation(Rule.SUCCESS_UNDONE, job_id, f"job {job_id} had succeeded, and is {state} now: {REPORT}")
