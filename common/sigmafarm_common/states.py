"""The states of a job and the one table of moves between them.

The diagram in common/README.md is generated from TRANSITIONS (`python -m sigmafarm_common.states`), and a test holds
the two together. The store's scripts make these moves and no others; the conformance suite tries them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. A job is in exactly one state, and moves only by a script of the store."""

    #: Accepted and waiting: for its turn, for a worker to claim it, or for the end of a back-off after an error.
    QUEUED = "queued"
    #: Claimed by a worker, which holds a lease and a fence on it.
    RUNNING = "running"
    #: Its picture lies in the object store, under the recorded key and with the recorded SHA-256.
    SUCCEEDED = "succeeded"
    #: Given up: an error that a retry cannot mend, or too many tries; the record says why.
    FAILED = "failed"
    #: Taken back by its owner before it was finished.
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing but an explicit retry moves a job out of this state."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Outcome(StrEnum):
    """How a try ended that left no picture."""

    #: It raised; the job is queued again after a back-off, or failed.
    ERROR = "error"
    #: Its lease ran out or its process died.
    LOST = "lost"
    #: Its worker handed it back, as when it ends in order.
    RELEASED = "released"
    #: Its owner cancelled the job.
    CANCELLED = "cancelled"
    #: Its batch was paused.
    PAUSED = "paused"


class BatchPhase(StrEnum):
    """How far the record of a batch is."""

    #: Its submitter adds rows; nobody sees it yet.
    OPEN = "open"
    #: An operator makes its records anew; nobody sees it yet.
    ADOPTING = "adopting"
    #: Accepted: every job of it reaches a terminal state.
    SEALED = "sealed"
    #: Its submit was given up; it is being removed.
    DISCARDED = "discarded"
    #: Its time is over; it is being removed.
    FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Transition:
    """One allowed move, the script that makes it, and what causes it."""

    source: JobState
    target: JobState
    script: str
    cause: str


_Q, _R, _S, _F, _C = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED

#: Every allowed move. Nothing else happens to a job.
TRANSITIONS: tuple[Transition, ...] = (
    Transition(_Q, _R, "claim", "a worker claims it: fence + 1, lease from now"),
    Transition(_R, _S, "finish", "its picture is stored and the fence is right"),
    Transition(_R, _F, "fail", "an error that cannot be retried, or the last attempt"),
    Transition(_R, _Q, "fail", "an error that can be retried"),
    Transition(_R, _Q, "release", "the worker hands it back, or its batch is paused"),
    Transition(_R, _Q, "take_back", "its lease ran out or its process died"),
    Transition(_R, _F, "take_back", "too many processes died with it"),
    Transition(_Q, _C, "cancel", "its owner cancels it"),
    Transition(_R, _C, "cancel", "its owner cancels it"),
    Transition(_F, _Q, "retry", "its owner asks for another try"),
    Transition(_C, _Q, "retry", "its owner asks for another try"),
)


def diagram() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> queued: submit"]
    lines += [f"    {t.source} --> {t.target}: {t.script} ({t.cause})" for t in TRANSITIONS]
    lines += [f"    {s} --> [*]" for s in JobState if s.is_terminal]
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(diagram() + "\n")
