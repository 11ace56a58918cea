"""What a hand, or half a backup, may have spoiled: keys of another type, texts that cannot be read. Pure functions.

The farm goes on past all of it: a record that cannot be read is left out, a key of another type is put aside when it is
met. So that nobody has to find out why something is missing, the checker names each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel, ValidationError

from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.keys import KeyRecord
from sigmafarm_common.records import Attempt, ModelCard, WorkerInfo
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import BatchPhase

#: What TYPE answers for each key of the farm, without the namespace; the first pattern that fits counts.
KEY_TYPES: tuple[tuple[str, str], ...] = (
    (r"spoiled:.*", "none"),
    (r"batch:[^:]+:(queued|running|succeeded|failed|cancelled)", "zset"),
    (r"batch:[^:]+:(ready:.*|seats)", "zset"),
    (r"batch:[^:]+:(models|uploads)", "set"),
    (r"upload:.*", "hash"),
    (r"upload_batches:.*", "set"),
    (r"batch:[^:]+(:failures|:texts)?", "hash"),
    (r"job:[^:]+:(request|preview)", "string"),
    (r"job:[^:]+:history", "list"),
    (r"job:[^:]+", "hash"),
    (r"queue:.*/clock", "hash"),
    (r"(queue|dispatched|leases):.*", "zset"),
    (r"(batches|batches:.*|open|delayed|clocks|finished|concluded|sweeps|workers|unused_uploads)", "zset"),
    (r"(queue_models|cancelling|draining|deletions)", "set"),
    (r"worker:.*:jobs", "set"),
    (r"worker:.*:alone", "hash"),
    (r"(worker|idempotency|allowance):.*|watched|keeper|schema", "string"),
    (r"(models|open_jobs|open_bytes|open_work|upload_bytes|pace|totals|measured|rounds|api_keys)", "hash"),
    (r"events", "stream"),
)
_PATTERNS = tuple((re.compile(pattern), kind) for pattern, kind in KEY_TYPES)
#: Fields of a batch and of a job that are whole numbers, and those that each must have.
BATCH_NUMBERS = ("priority", "created", "rows", "queued", "running", "succeeded", "failed", "cancelled")
BATCH_FIELDS = (*BATCH_NUMBERS, "phase", "name", "owner", "paused", "defaults")
JOB_NUMBERS = ("fence", "attempts", "losses", "steps", "submitted", "started", "finished", "size", "step", "upload")
JOB_FIELDS = ("model", "cost", "steps", "submitted")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")
#: The cure for what no command of ours can have written.
OUTSIDE = "it was changed from outside; restore it from the server's last backup"


def type_of(name: str) -> str | None:
    """Return the type that a key must have, None for a name that the farm does not give."""
    return next((kind for pattern, kind in _PATTERNS if pattern.fullmatch(name)), None)


def key_violations(found: Iterable[tuple[str, str]]) -> Iterator[Violation]:
    """Yield the keys, each with its type, that are not as they should be. The names come without the namespace."""
    for name, kind in found:
        wanted = type_of(name)
        if wanted == "none":
            cure = "look at it, then remove it from Redis, DEL behind the namespace"
            yield _of(name, f"was put aside because it was of a wrong type ({kind}): {cure}")
        elif wanted is not None and kind not in (wanted, "none"):
            cure = "the farm puts it aside when it meets it; remove or rename it"
            yield _of(name, f"is a {kind} and must be a {wanted}: {cure}")


def number_violations(name: str, fields: Mapping[str, str]) -> Iterator[Violation]:
    """Yield the fields of a hash of sums that are no numbers."""
    for field, value in fields.items():
        if not _WHOLE.fullmatch(value):
            yield _of(f"{name} {field}", f"is {value[:60]!r} and must be a whole number: {OUTSIDE}")


def record_faults(name: str, kind: type[BaseModel], texts: Mapping[str, str | None]) -> Iterator[Violation]:
    """Yield the records, by their name within a key, that cannot be read."""
    for field, text in texts.items():
        if not is_record(kind, text):
            said = "is missing" if text is None else f"cannot be read ({text[:60]!r})"
            yield _of(f"{name} {field}", f"{said}: who wrote it writes it anew, or remove it from Redis")


def event_violations(events: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[Violation]:
    """Yield the entries of the stream that tell of nothing."""
    for event_id, fields in events:
        if not fields.get("kind"):
            yield _of(f"events {event_id}", f"has no kind: remove it from Redis, XDEL events {event_id}")


def batch_faults(fields: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a batch's own fields."""
    if not fields:
        return []
    if fields.get("phase") not in set(BatchPhase):
        return [f"says that it is {fields.get('phase')!r}"]
    faults = [f"has no {name}" for name in BATCH_FIELDS if name not in fields]
    faults += _no_numbers(fields, (*BATCH_NUMBERS, "finished", "revision", "bytes"), _WHOLE)
    faults += _no_numbers(fields, [name for name in fields if name.startswith(("open:", "warned:"))], _WHOLE)
    if "defaults" in fields and not _is_object(fields["defaults"]):
        faults.append("has defaults that cannot be read")
    return faults


def job_faults(fields: Mapping[str, str], request: str | None, history: Iterable[str]) -> list[str]:
    """Return what is wrong with a job's own fields, its request as JSON and its history."""
    if not fields:
        return []
    faults = [f"has no {name}" for name in JOB_FIELDS if name not in fields]
    faults += _no_numbers(fields, JOB_NUMBERS, _WHOLE) + _no_numbers(fields, ["cost"], _NUMBER)
    if request is not None and not is_record(RenderRequest, request):
        faults.append("has a request that cannot be read")
    if not all(is_record(Attempt, entry) for entry in history):
        faults.append("has tries in its history that cannot be read")
    return faults


def is_record(kind: type[BaseModel], text: str | None) -> bool:
    try:
        kind.model_validate_json(text or "")
    except ValidationError:
        return False
    return True


#: Hashes whose values are records, and what they are.
RECORDS: Mapping[str, type[BaseModel]] = {"models": ModelCard, "api_keys": KeyRecord}
#: Hashes of sums and counts.
NUMBERS = ("open_jobs", "open_bytes", "open_work", "upload_bytes", "pace", "totals", "measured")
#: What stands under worker:{worker}.
WORKER = WorkerInfo


def _no_numbers(fields: Mapping[str, str], names: Iterable[str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"has {n} {fields[n][:60]!r}, which is no number"
        for n in names
        if n in fields and not pattern.fullmatch(fields[n])
    ]


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _of(subject: str, said: str) -> Violation:
    return Violation(Rule.SPOILED, subject, f"{subject} {said}")
