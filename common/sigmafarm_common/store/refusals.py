"""What both stores say when they refuse: one text for each case, with the cure."""

from __future__ import annotations

from typing import Any

from sigmafarm_common.errors import (
    Conflict,
    FieldError,
    IllegalTransition,
    InvalidRequest,
    NewerRecords,
    NotAlone,
    NotFound,
    QuotaExceeded,
    RecordsLost,
    SubmitInProgress,
)
from sigmafarm_common.picture_inputs import upload_name
from sigmafarm_common.store.values import BEST_RATING, HIGHEST_PRIORITY, LOWEST_PRIORITY, SCHEMA_VERSION
from sigmafarm_common.validation import shown
from sigmafarm_common.wording import numbered

_LOST_WRITES = (
    "Redis has lost its newest writes (it crashed, or a backup or a replica took its place); nothing was accepted, "
    "submit it again"
)


def check_priority(value: Any) -> None:
    """Raise InvalidRequest for what is no priority: the queue has no place for it, and its jobs would wait for ever."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not LOWEST_PRIORITY <= value <= HIGHEST_PRIORITY:
        must = f"must be a whole number between {LOWEST_PRIORITY} and {HIGHEST_PRIORITY}"
        raise InvalidRequest([FieldError("priority", f"priority is {shown(value)}: {must}")])


def check_rating(value: Any) -> None:
    """Raise InvalidRequest for what is no rating."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 0 <= value <= BEST_RATING:
        must = f"must be a whole number from 1 to {BEST_RATING}, or 0 for no rating"
        raise InvalidRequest([FieldError("rating", f"rating is {shown(value)}: {must}")])


def newer_records(version: int) -> NewerRecords:
    return NewerRecords(
        f"the farm's records are of version {version}, and this program knows version {SCHEMA_VERSION}: a newer "
        "sigmafarm wrote them; upgrade this one (docs/deploy/upgrade.md), or restore the backup from before the upgrade"
    )


def no_batch(batch_id: str) -> NotFound:
    return NotFound(f"there is no batch {shown(batch_id)}: `sigmafarm status` lists them")


def no_job(job_id: str) -> NotFound:
    return NotFound(f"there is no job {shown(job_id)}: `sigmafarm jobs BATCH` lists them")


def no_open_batch(batch_id: str) -> NotFound:
    return NotFound(f"there is no open batch {batch_id}: it was discarded; submit it again")


def rows_lost(batch_id: str, num_there: int, num_rows: int) -> RecordsLost:
    return RecordsLost(
        f"batch {batch_id} has {num_there} of the {numbered(num_rows, 'row')} that were written to it: {_LOST_WRITES}"
    )


def submit_lost(batch_id: str) -> RecordsLost:
    return RecordsLost(f"batch {batch_id} was lost while it was submitted: {_LOST_WRITES}")


def takes_no_rows(batch_id: str) -> Conflict:
    said = "another submit writes to it, or its own wrote nothing for SIGMAFARM_SUBMIT_STALE_S and was discarded"
    return Conflict(f"batch {batch_id} takes no rows: {said}; submit it again")


def already_accepted(batch_id: str) -> Conflict:
    return Conflict(f"batch {batch_id} is accepted already: cancel it instead")


def being_cancelled(batch_id: str) -> Conflict:
    return Conflict(f"batch {batch_id} is being cancelled: retry it when that is done")


def key_of_other_rows(idempotency_key: str | None, batch_id: str) -> Conflict:
    return Conflict(
        f"idempotency key {idempotency_key!r} names batch {batch_id}, which was submitted with other rows or settings: "
        "say a new key for a new batch, or the same rows to be given that one"
    )


def being_submitted(idempotency_key: str | None, batch_id: str, stale_s: float) -> SubmitInProgress:
    return SubmitInProgress(
        f"idempotency key {idempotency_key!r} is being submitted as batch {batch_id} just now: "
        f"try again, or wait {stale_s:g} s if that submit has died"
    )


def cannot_be_retried(job_id: str, state: str) -> IllegalTransition:
    return IllegalTransition(f"job {job_id} is {state} and cannot be retried: only failed and cancelled jobs can")


def cannot_be_rated(job_id: str, state: str) -> Conflict:
    return Conflict(f"job {job_id} is {state} and cannot be rated: only drawn pictures can")


def no_worker(worker_id: str) -> NotFound:
    return NotFound(f"there is no worker {shown(worker_id)}: `sigmafarm workers` lists them")


def no_key(key_id: str) -> NotFound:
    return NotFound(f"there is no key {shown(key_id)}: `sigmafarm keys list` shows them")


def key_taken(key_id: str) -> Conflict:
    return Conflict(f"there is a key {key_id} already: make another")


def not_alone(job_id: str, worker_id: str, num_held: int) -> NotAlone:
    return NotAlone(
        f"job {job_id} was there when workers died and runs alone: worker {worker_id} holds {num_held} others; "
        "claim it again when they are done"
    )


def no_event_id(after: str) -> InvalidRequest:
    return InvalidRequest([FieldError("after", f"after is {shown(after)}: must be an event's id, 0 or $")])


def too_many_jobs(owner: str, num_open: int, num_more: int, limit: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"owner {owner} has {num_open} open jobs, and may have {limit}: {num_more} more are too many; wait until some "
        "are drawn, or raise SIGMAFARM_MAX_OPEN_JOBS"
    )


def too_many_bytes(owner: str, open_bytes: int, limit: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"the open jobs of owner {owner} have {open_bytes} bytes of settings and prompts, and may have {limit}: send "
        "fewer or shorter prompts, wait until some are drawn, or raise SIGMAFARM_MAX_OPEN_BYTES"
    )


def too_many_upload_bytes(owner: str, held_bytes: int, limit: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"the uploaded pictures of owner {owner} have {held_bytes} bytes, and may have {limit}: wait until some are "
        "used by no batch any more and are removed, or raise SIGMAFARM_MAX_UPLOAD_BYTES"
    )


def no_upload(sha256: str) -> NotFound:
    return NotFound(f"there is no picture {shown(upload_name(sha256))}: upload it (again), or name another")


def upload_gone(field: str, sha256: str) -> InvalidRequest:
    said = f"{field} is {shown(upload_name(sha256))}: there is no such picture (any more); upload it, then submit again"
    return InvalidRequest([FieldError(field, said)])


def no_more_retries(thing: str, num_open: int, limit: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"{thing} cannot be queued again now: its owner has {num_open} open jobs, and may have {limit}; wait until "
        "some are drawn, or raise SIGMAFARM_MAX_OPEN_JOBS"
    )
