"""From Redis's texts to the farm's records. Nothing here raises: a field that a hand spoiled reads as not said."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.records import Attempt, Batch, Counts, Job, Upload
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import BatchPhase, JobState
from sigmafarm_common.store.values import MAX_SHOWN_BATCHES, PACE_S, Event, Fence, Moment, Pace, Preview, Source

#: How the fields of a batch begin that hold its open work by model, and its jobs with a warning by code.
OPEN_WORK, WARNED = "open:", "warned:"
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_WARNINGS = TypeAdapter(list[JobWarning])

R = TypeVar("R", bound=BaseModel)


def batch_from(batch_id: str, fields: Mapping[str, str]) -> Batch | None:
    """Return the batch of a hash, or None if there is none or it is not sealed. What a hand spoiled is left out."""
    if fields.get("phase") != BatchPhase.SEALED:
        return None
    return Batch(
        id=batch_id,
        name=fields.get("name", ""),
        title=fields.get("name") or fields.get("title") or batch_id,
        owner=fields.get("owner", ""),
        priority=whole(fields.get("priority")),
        is_paused=fields.get("paused") == "1",
        counts=Counts(**{s.value: whole(fields.get(s.value)) for s in JobState}),
        parent=fields.get("parent", ""),
        reuse=fields.get("reuse") == "1",
        num_reused=whole(fields.get("reused")),
        warnings={n.removeprefix(WARNED): whole(num) for n, num in sorted(fields.items()) if n.startswith(WARNED)},
        num_rated=whole(fields.get("rated")),
        created_ms=whole(fields.get("created")),
        finished_ms=whole(fields.get("finished")),
        defaults=_object_in(fields.get("defaults", "")),
        revision=whole(fields.get("revision")),
        open_cost=cost_of(sum(whole(work) for name, work in fields.items() if name.startswith(OPEN_WORK))),
    )


def cost_of(work: float) -> float:
    """Return steps times pixels as steps times megapixels."""
    return work / 1e6


def whole(text: str | None) -> int:
    """Return a field as a whole number; 0 where it is not there, or was spoiled and is none."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def numbers_in(fields: Mapping[str, str]) -> dict[str, int]:
    """Return the fields that are whole numbers, by name."""
    return {name: int(fields[name]) for name in sorted(fields) if _NUMBER.fullmatch(fields[name])}


def pace_from(fields: Mapping[str, str], *, since: int) -> list[Pace]:
    """Return the entries of the pace's hash behind one of its numbers, oldest first."""
    numbers = sorted(int(name) for name in fields if _NUMBER.fullmatch(name) and int(name) > since)
    return [Pace(n * PACE_S * 1000, whole(fields[str(n)]), cost_of(whole(fields.get(f"{n}:work")))) for n in numbers]


def moments_from(fields: Mapping[str, str], *, since: int) -> list[Moment]:
    """Return what the pace's hash says of each of its numbers behind one, oldest first."""
    numbers = {name.partition(":")[0] for name in fields}
    slots = sorted(int(number) for number in numbers if _NUMBER.fullmatch(number) and int(number) > since)
    return [
        Moment(
            slot * PACE_S * 1000,
            whole(fields.get(str(slot))),
            whole(fields.get(f"{slot}:failed")),
            whole(fields[f"{slot}:waiting"]) if f"{slot}:waiting" in fields else None,
        )
        for slot in slots
    ]


def job_from(
    job_id: str, batch: Mapping[str, str], fields: Mapping[str, str], request: str | None, history: Sequence[str]
) -> Job | None:
    """Return the job of its hashes and its history, or None if there is none or its batch is not sealed.

    A job whose record was spoiled is shown as far as it is known: its end, if any, must be seen.
    """
    batch_id, _, row = job_id.rpartition("-")
    if batch.get("phase") != BatchPhase.SEALED or fields.get("state") not in set(JobState):
        return None
    return Job(
        id=job_id,
        batch_id=batch_id,
        row=int(row),
        state=JobState(fields["state"]),
        owner=batch.get("owner", ""),
        model=fields.get("model", ""),
        priority=whole(batch.get("priority")),
        request=_request_from(request or ""),
        step=whole(fields.get("step")),
        num_steps=whole(fields.get("steps")),
        fence=whole(fields.get("fence")),
        attempts=whole(fields.get("attempts")),
        losses=whole(fields.get("losses")),
        worker=fields.get("worker", ""),
        submitted_ms=whole(fields.get("submitted")),
        started_ms=whole(fields.get("started")),
        finished_ms=whole(fields.get("finished")),
        error_code=fields.get("error_code", ""),
        error=fields.get("error", ""),
        image_key=fields.get("image_key", ""),
        sha256=fields.get("sha256", ""),
        size_bytes=whole(fields.get("size")),
        upload_ms=whole(fields.get("upload")),
        fingerprint=fields.get("print", ""),
        reused_from=fields.get("reused", ""),
        warnings=warnings_from(fields.get("warnings", "")),
        rating=whole(fields.get("rating")),
        history=tuple(parsed(Attempt, history)),
    )


def parsed(record: type[R], texts: Iterable[str | None]) -> list[R]:
    """Return the records of JSON texts; what is none, or of another shape, is left out: `sigmafarm check` names it."""
    found: list[R] = []
    for text in texts:
        with suppress(ValidationError):
            found.append(record.model_validate_json(text or ""))
    return found


def warnings_from(text: str) -> tuple[JobWarning, ...]:
    try:
        return tuple(_WARNINGS.validate_json(text)) if text else ()
    except ValidationError:
        return ()


def _object_in(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _request_from(text: str) -> RenderRequest:
    """Return a stored request; a record that was spoiled from outside must not hide its job, so it shows as a text."""
    try:
        return RenderRequest.model_validate_json(text)
    except ValidationError:
        return RenderRequest(prompt=f"(spoiled record) {text[:200]}")


def upload_from(sha256: str, owner: str, fields: Mapping[str, str], batches: Iterable[str]) -> Upload | None:
    """Return the upload of a hash and of the batches that use it, or None if there is none."""
    if not fields.get("key"):
        return None
    known = sorted(batches, reverse=True)
    return Upload(
        sha256=sha256,
        owner=owner,
        key=fields["key"],
        size_bytes=whole(fields.get("size")),
        width=whole(fields.get("width")),
        height=whole(fields.get("height")),
        is_linked=fields.get("linked") == "1",
        created_ms=whole(fields.get("created")),
        num_batches=len(known),
        batches=tuple(known[:MAX_SHOWN_BATCHES]),
    )


def source_from(said: Sequence[str]) -> Source | None:
    """Return what a claim's answer says of the job whose picture it may take, None where it says nothing."""
    if not said:
        return None
    job_id, image_key, sha256, size, fingerprint, warnings = said
    return Source(job_id, image_key, sha256, whole(size), fingerprint, warnings_from(warnings))


def preview_from(job_id: str, text: str) -> Preview | None:
    """Return the preview of a stored text, None for one that was spoiled."""
    try:
        fence, step, webp = text.split(" ")
        return Preview(job_id, Fence.parse(fence), int(step), base64.b64decode(webp))
    except ValueError:
        return None


def event_from(event_id: str, fields: Mapping[str, str]) -> Event:
    """Return the event of a stream entry; one without a kind still has its place in the order."""
    rest = {k: v for k, v in fields.items() if k not in ("kind", "batch", "job")}
    return Event(event_id, fields.get("kind", "spoiled"), fields.get("batch", ""), fields.get("job", ""), rest)
