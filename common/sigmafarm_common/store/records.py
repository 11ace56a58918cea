"""From Redis's texts to the farm's records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from sigmafarm_common.job import Attempt, Batch, Counts, Job, RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import PACE_S, Event, Pace

#: How the fields of a batch begin that hold its open work by model.
OPEN_WORK = "open:"


def batch_from(batch_id: str, fields: Mapping[str, str]) -> Batch | None:
    """Return the batch of a hash, or None if there is none or it is not sealed."""
    if fields.get("phase") != "sealed":
        return None
    return Batch(
        id=batch_id,
        name=fields["name"],
        owner=fields["owner"],
        priority=int(fields["priority"]),
        is_paused=fields["paused"] == "1",
        counts=Counts(**{s.value: int(fields[s.value]) for s in JobState}),
        created_ms=int(fields["created"]),
        finished_ms=int(fields.get("finished", 0)),
        defaults=json.loads(fields["defaults"]),
        revision=int(fields.get("revision", 0)),
        open_cost=cost_of(sum(int(work) for name, work in fields.items() if name.startswith(OPEN_WORK))),
    )


def cost_of(work: float) -> float:
    """Return steps times pixels as steps times megapixels."""
    return work / 1e6


def pace_from(fields: Mapping[str, str], *, since: int) -> list[Pace]:
    """Return the entries of the pace's hash behind one of its numbers, oldest first."""
    numbers = sorted(int(name) for name in fields if name.isdigit() and int(name) > since)
    return [Pace(n * PACE_S * 1000, int(fields[str(n)]), cost_of(int(fields.get(f"{n}:work", 0)))) for n in numbers]


def job_from(
    job_id: str, batch: Mapping[str, str], fields: Mapping[str, str], request: str | None, history: Sequence[str]
) -> Job | None:
    """Return the job of its hashes and its history, or None if there is none or its batch is not sealed."""
    if not fields or request is None or batch.get("phase") != "sealed":
        return None
    return Job(
        id=job_id,
        batch_id=fields["batch"],
        row=int(fields["row"]),
        state=JobState(fields["state"]),
        owner=batch["owner"],
        model=fields["model"],
        priority=int(batch["priority"]),
        request=_request_from(request),
        step=int(fields.get("step", 0)),
        num_steps=int(fields["steps"]),
        fence=int(fields.get("fence", 0)),
        attempts=int(fields.get("attempts", 0)),
        losses=int(fields.get("losses", 0)),
        worker=fields.get("worker", ""),
        submitted_ms=int(fields.get("submitted", 0)),
        started_ms=int(fields.get("started", 0)),
        finished_ms=int(fields.get("finished", 0)),
        error_code=fields.get("error_code", ""),
        error=fields.get("error", ""),
        image_key=fields.get("image_key", ""),
        sha256=fields.get("sha256", ""),
        size_bytes=int(fields.get("size", 0)),
        upload_ms=int(fields.get("upload", 0)),
        history=tuple(Attempt.model_validate_json(entry) for entry in history),
    )


def _request_from(text: str) -> RenderRequest:
    """Return a stored request; a record that was spoiled from outside must not hide its job, so it shows as a text."""
    try:
        return RenderRequest.model_validate_json(text)
    except ValidationError:
        return RenderRequest(prompt=f"(spoiled record) {text[:200]}")


def event_from(event_id: str, fields: Mapping[str, str]) -> Event:
    """Return the event of a stream entry."""
    rest = {k: v for k, v in fields.items() if k not in ("kind", "batch", "job")}
    return Event(event_id, fields["kind"], fields["batch"], fields.get("job", ""), rest)
