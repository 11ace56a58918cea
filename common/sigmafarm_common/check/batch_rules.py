"""What must hold for every sealed batch, its jobs left aside. Pure functions over one BatchSeen."""

from __future__ import annotations

from collections.abc import Iterator

from sigmafarm_common.check.seen import BatchSeen, number_in
from sigmafarm_common.check.spoiled import batch_faults
from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.states import JobState

#: The cure for numbers and lists that no command of ours can have brought apart.
OUTSIDE = "the records were changed from outside; restore them from the server's last backup"


def batch_violations(batch: BatchSeen) -> Iterator[Violation]:
    """Yield what is wrong with a batch. One that is not sealed promises nothing yet."""
    for fault in batch_faults(batch.fields):
        yield _of(batch, Rule.RECORD, f"{fault}: {OUTSIDE}")
    if not batch.is_sealed:
        return
    yield from _counts(batch)
    yield from _sums(batch)
    yield from _ends(batch)
    yield from _links(batch)
    if not batch.is_listed:
        yield _of(batch, Rule.LISTED, f"is accepted, and `sigmafarm status` does not list it: {OUTSIDE}")
    if batch.is_cancel_pending != (batch.fields.get("cancelling") == "1"):
        said = "the keeper still cancels it" if batch.is_cancel_pending else "the keeper does not go on with it"
        cure = f"`sigmafarm cancel {batch.id}` ends its cancel"
        yield _of(batch, Rule.CANCELLING, f"has cancelling={batch.fields.get('cancelling', '0')}, and {said}: {cure}")


def _counts(batch: BatchSeen) -> Iterator[Violation]:
    said = {state: number_in(batch.fields, state) for state in JobState}
    sizes = batch.index_sizes
    wrong = [f"{said[s]} {s} (its index holds {sizes[s]})" for s in JobState if said[s] != sizes[s]]
    if wrong:
        yield _of(batch, Rule.COUNTS, f"counts {', '.join(wrong)}: {OUTSIDE}")
    elif sum(said.values()) != batch.num_rows:
        yield _of(batch, Rule.COUNTS, f"counts {sum(said.values())} jobs in {batch.num_rows} rows: {OUTSIDE}")


def _sums(batch: BatchSeen) -> Iterator[Violation]:
    work = sum(number_in(batch.fields, name) for name in batch.fields if name.startswith("open:"))
    if (work > 0) is batch.is_over:
        said = (
            f"says that work of {work} is open, and is over" if batch.is_over else f"is open, and says work of {work}"
        )
        yield _of(batch, Rule.BATCH_SUMS, f"{said}: {OUTSIDE}")
    failed = batch.index_sizes[JobState.FAILED]
    if batch.num_failures != failed:
        said = f"counts {batch.num_failures} failures by reason (its index holds {failed})"
        yield _of(batch, Rule.BATCH_SUMS, f"{said}: {OUTSIDE}")


def _ends(batch: BatchSeen) -> Iterator[Violation]:
    has_end = number_in(batch.fields, "finished") > 0
    if has_end != batch.is_over:
        said = "has an end, and jobs that are open" if has_end else "is over, and has no time of its end"
        yield _of(batch, Rule.END_TIME, f"{said}: {OUTSIDE}")
    if batch.is_due and not batch.is_over:
        yield _of(batch, Rule.NOT_DUE, f"waits for its manifest, and has jobs that are open: {OUTSIDE}")
    if batch.is_concluded and not batch.is_over:
        cure = f"remove it from Redis, ZREM concluded {batch.id} behind the namespace"
        yield _of(batch, Rule.EXPIRES_OPEN, f"would be forgotten with the jobs of it that are open: {cure}")


def _links(batch: BatchSeen) -> Iterator[Violation]:
    for link in batch.links:
        subject = f"{batch.id} in {link.model}"
        must = link.num_ready > 0 and not batch.is_halted
        if must and not link.is_whole:
            yield Violation(
                Rule.NOT_LINKED,
                subject,
                f"batch {batch.id} has {link.num_ready} jobs ready for {link.model}, and the queue does not lead to "
                f"them: `sigmafarm pause {batch.id}`, then `sigmafarm resume {batch.id}` links it anew",
                batch.id,
            )
        if link.is_there and not must:
            why = "is paused or being cancelled" if batch.is_halted else "has no job ready for it"
            first, then = ("resume", "pause") if batch.is_halted else ("pause", "resume")
            yield Violation(
                Rule.WRONGLY_LINKED,
                subject,
                f"batch {batch.id} stands in the queue of {link.model}, and {why}: `sigmafarm {first} {batch.id}`, "
                f"then `sigmafarm {then} {batch.id}` takes it out",
                batch.id,
            )


def _of(batch: BatchSeen, rule: Rule, said: str) -> Violation:
    return Violation(rule, batch.id, f"batch {batch.id} {said}", batch.id)
