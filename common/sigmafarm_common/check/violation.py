"""What the checker can find: the six invariants, the rules that make them up, and one violation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Invariant(StrEnum):
    """What must hold after every fault."""

    #: Every accepted job reaches a terminal state.
    I1 = "I1"
    #: Exactly one accepted finish.
    I2 = "I2"
    #: Terminal states do not change.
    I3 = "I3"
    #: The output exists as it was recorded, and after the sweep no object without a record.
    I4 = "I4"
    #: Indexes, counters and states agree.
    I5 = "I5"
    #: Attempts stay within the limit.
    I6 = "I6"


class Rule(StrEnum):
    """One thing that is looked at. Short and stable, for programs."""

    #: At the end, every job of a sealed batch is in a terminal state.
    UNFINISHED = "unfinished"
    #: The event stream holds at most one job.succeeded of a job.
    SUCCEEDED_TWICE = "succeeded_twice"
    #: A succeeded job's image key is made of its batch, its row and its fence.
    WRONG_PICTURE = "wrong_picture"
    #: Nothing happens to a job after job.succeeded, but that a person rates its picture.
    EVENT_AFTER_END = "event_after_end"
    #: A job that the event stream saw succeed is still succeeded.
    SUCCESS_UNDONE = "success_undone"
    #: The picture of a succeeded job is in the object store.
    PICTURE_MISSING = "picture_missing"
    #: It has the recorded size.
    PICTURE_SIZE = "picture_size"
    #: Its bytes have the recorded SHA-256 (looked at only when asked for).
    PICTURE_SHA256 = "picture_sha256"
    #: Every object belongs to a record, or to a try that still runs.
    ORPHAN = "orphan"
    #: The object of a picture that jobs draw from is in the object store, as its record says.
    UPLOAD_MISSING = "upload_missing"
    #: A batch whose end was concluded has its manifest.
    MANIFEST_MISSING = "manifest_missing"
    #: A batch's counts are the sizes of its indexes, and add up to its rows.
    COUNTS = "counts"
    #: A batch has open work exactly while jobs of it are open, and counts its failures by reason.
    BATCH_SUMS = "batch_sums"
    #: At the end, no owner and no model has open work.
    FARM_SUMS = "farm_sums"
    #: A job's row stands in the index of its state and in no other.
    INDEX = "index"
    #: Every row of a sealed batch has its job's record and its request.
    RECORD = "record"
    #: A queued job waits in exactly one of ready, dispatched and delayed.
    WAITING = "waiting"
    #: A ready row is a queued job's, and of its model.
    STALE_READY = "stale_ready"
    #: A running job has a fence, a worker and a lease, and is in its worker's hands.
    RUNNING = "running"
    #: Leases and held sets name running jobs; dispatched and delayed name queued ones.
    STALE_ENTRY = "stale_entry"
    #: A batch with ready rows that is neither paused nor being cancelled is linked in its level of the queue.
    NOT_LINKED = "not_linked"
    #: A batch that is linked there has ready rows, and is neither paused nor being cancelled.
    WRONGLY_LINKED = "wrongly_linked"
    #: A batch has a time of its end exactly when nothing of it is queued or running.
    END_TIME = "end_time"
    #: Only ended batches wait for their manifest.
    NOT_DUE = "not_due"
    #: Only ended batches are forgotten some time later.
    EXPIRES_OPEN = "expires_open"
    #: The list of batches holds every sealed batch and no other.
    LISTED = "listed"
    #: The batches that say they are being cancelled are those whose cancel the keeper goes on with.
    CANCELLING = "cancelling"
    #: Batches and the uploads that they use name each other; an upload waits to be removed exactly when none uses it.
    UPLOAD_USE = "upload_use"
    #: An owner's bytes of uploads are those of its uploads.
    UPLOAD_SUMS = "upload_sums"
    #: Every key has its type, and every record in it can be read.
    SPOILED = "spoiled"
    #: Tries that raised stay within max_attempts.
    ATTEMPTS = "attempts"
    #: Tries whose process died stay within max_losses.
    LOSSES = "losses"

    @property
    def invariant(self) -> Invariant:
        """The invariant that a violation of this rule breaks."""
        return _INVARIANTS.get(self, Invariant.I5)


_INVARIANTS = {
    Rule.UNFINISHED: Invariant.I1,
    Rule.EXPIRES_OPEN: Invariant.I1,
    Rule.SUCCEEDED_TWICE: Invariant.I2,
    Rule.WRONG_PICTURE: Invariant.I2,
    Rule.EVENT_AFTER_END: Invariant.I3,
    Rule.SUCCESS_UNDONE: Invariant.I3,
    Rule.PICTURE_MISSING: Invariant.I4,
    Rule.PICTURE_SIZE: Invariant.I4,
    Rule.PICTURE_SHA256: Invariant.I4,
    Rule.ORPHAN: Invariant.I4,
    Rule.UPLOAD_MISSING: Invariant.I4,
    Rule.MANIFEST_MISSING: Invariant.I4,
    Rule.ATTEMPTS: Invariant.I6,
    Rule.LOSSES: Invariant.I6,
}


@dataclass(frozen=True)
class Violation:
    """One rule that one subject breaks. Seen twice, some time apart, it is what the checker reports."""

    rule: Rule
    #: A job, a batch, an object's key or an entry of an index.
    subject: str
    #: What is wrong, with the value and the cure.
    message: str
    #: The batch to read again before this is believed; empty for what belongs to none.
    batch_id: str = ""

    @property
    def invariant(self) -> Invariant:
        return self.rule.invariant

    @property
    def identity(self) -> tuple[Rule, str]:
        """What makes two readings find the same thing."""
        return self.rule, self.subject

    def __str__(self) -> str:
        return f"{self.invariant} {self.rule}: {self.message}"
