"""What must hold for the places that belong to no single batch. Pure functions over FarmSeen."""

from __future__ import annotations

from collections.abc import Iterator

from sigmafarm_common.check.seen import Entry, FarmSeen, Place, QueueSeen
from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.states import JobState

#: What each set of batches is for, and the rule that a stranger in it breaks.
SETS = {
    "batches": (Rule.LISTED, "is listed, and is no accepted batch"),
    "open": (Rule.LISTED, "stands among those being submitted, and is accepted already"),
    "finished": (Rule.NOT_DUE, "waits for its manifest, and is no accepted batch"),
    "concluded": (Rule.NOT_DUE, "waits to be forgotten, and is no accepted batch"),
    "cancelling": (Rule.CANCELLING, "is being cancelled, and is no accepted batch"),
}


def farm_violations(farm: FarmSeen) -> Iterator[Violation]:
    """Yield what is wrong with the indexes that all batches share."""
    yield from (v for entry in farm.entries for v in _entry(entry))
    yield from (v for seen in farm.queues for v in _queue(seen))
    for name, batch_id in farm.strangers:
        rule, said = SETS[name]
        command = "SREM" if name == "cancelling" else "ZREM"
        yield Violation(rule, f"{name} {batch_id}", f"batch {batch_id} {said}: {_by_hand(command, name, batch_id)}")


def end_violations(farm: FarmSeen) -> Iterator[Violation]:
    """Yield what is left of open work where every job is said to have ended."""
    for name, field, value in farm.sums:
        cure = f"remove it from Redis, HDEL {name} {field} behind the namespace"
        yield Violation(Rule.FARM_SUMS, f"{name} {field}", f"{name} of {field} is {value} at the end: {cure}")


def is_stale(entry: Entry) -> bool:
    """Whether an entry's job does not belong where it stands."""
    match entry.place:
        case Place.LEASES:
            return (entry.state, entry.model) != (JobState.RUNNING, entry.name)
        case Place.HELD:
            return (entry.state, entry.worker) != (JobState.RUNNING, entry.name)
        case Place.DISPATCHED:
            return (entry.state, entry.model) != (JobState.QUEUED, entry.name)
        case Place.DELAYED:
            return entry.state != JobState.QUEUED


def _entry(entry: Entry) -> Iterator[Violation]:
    if is_stale(entry):
        subject = entry_subject(entry)
        whose = {Place.HELD: f", held by {entry.worker}" if entry.worker else ""}.get(entry.place, "")
        said = f"is {entry.state} for {entry.model}{whose}" if entry.state else "does not exist"
        cure = "`sigmafarm sweep --delete` removes the entry"
        yield Violation(Rule.STALE_ENTRY, subject, f"{subject} is an entry, and the job {said}: {cure}")


def entry_subject(entry: Entry) -> str:
    """Return an entry's name: the place, whose it is, the job."""
    return " ".join(part for part in (entry.place, entry.name, entry.job_id) if part)


def _queue(seen: QueueSeen) -> Iterator[Violation]:
    steps = [part for part in (seen.model, seen.priority, seen.owner, seen.batch_id) if part]
    place, cure = " ".join(steps), _by_hand("ZREM", ":".join(("queue", *steps[:-1])), steps[-1])
    if not seen.batch_id:
        yield Violation(Rule.WRONGLY_LINKED, place, f"the queue leads to {place}, where nothing waits: {cure}")
    elif (seen.owner, seen.priority) != (seen.said_owner, seen.said_priority):
        said = f"has priority {seen.said_priority} and owner {seen.said_owner!r}" if seen.said_priority else "is gone"
        yield Violation(Rule.WRONGLY_LINKED, place, f"the queue leads to {place}, and the batch {said}: {cure}")


def _by_hand(command: str, key: str, member: str) -> str:
    """Return the cure for an entry that no command of the farm removes."""
    return f"remove it from Redis, {command} {key} {member} behind the namespace"
