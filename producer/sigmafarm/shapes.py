"""The farm's records as JSON: one shape each, the same for `--json` and for the HTTP API.

`http/schemas.py` describes them for OpenAPI; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sigmafarm.forecast import Eta, Turn
from sigmafarm.takers import why_none_takes
from sigmafarm_common.errors import InvalidRows, RowError, SigmafarmError
from sigmafarm_common.records import Batch, Job, ModelCard, Upload, WorkerInfo
from sigmafarm_common.residents import SeenModel
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import QueueInfo

if TYPE_CHECKING:
    from sigmafarm.search import Found, JobFilter
    from sigmafarm.submission import Plan  # what submits is not imported by who only looks


def batch_json(batch: Batch, eta: Eta | None = None) -> dict[str, Any]:
    """Return a batch: its record, with total and is_done, and when it will be done where somebody can say."""
    return {
        **batch.model_dump(mode="json"),
        "counts": {**batch.counts.model_dump(), "total": batch.counts.total},
        "is_done": batch.counts.is_done,
        **eta_json(eta),
    }


def eta_json(eta: Eta | None) -> dict[str, Any]:
    """Return when something will be done: seconds, and between which two; null for what nobody can say."""
    if eta is None:
        return {"eta_s": None, "eta_range_s": None}
    most_s = None if eta.most_s is None else round(eta.most_s, 1)
    return {"eta_s": round(eta.seconds, 1), "eta_range_s": [round(eta.least_s, 1), most_s]}


def job_json(job: Job, turn: Turn | None = None, eta: Eta | None = None) -> dict[str, Any]:
    """Return a job: its whole record, without the settings that it leaves out; of one that waits, its turn."""
    said = job.model_dump(mode="json", exclude_none=True)
    return {**said, **turn_json(turn, eta)} if job.state is JobState.QUEUED and turn else said


def turn_json(turn: Turn, eta: Eta | None) -> dict[str, Any]:
    """Return where a waiting job stands in its model's line, and when its picture is there."""
    about = {"queue_position": turn.position, "queue_length": turn.num_waiting, "is_position_exact": turn.is_exact}
    return {**about, **eta_json(eta)}


def found_json(wanted: JobFilter, found: Found) -> dict[str, Any]:
    """Return what a search came to, in figures and in words."""
    from sigmafarm.search import told  # who only looks at the farm does not search it

    said = {name: getattr(found, name) for name in ("num", "num_drawn", "num_seen", "is_complete")}
    return {**said, "words": told(wanted, found)}


def upload_json(upload: Upload) -> dict[str, Any]:
    """Return a picture to draw from: its record, with what settings call it."""
    return {"id": upload.name, **upload.model_dump(mode="json")}


def worker_json(worker: WorkerInfo) -> dict[str, Any]:
    """Return a worker: what it last said about itself."""
    return worker.model_dump(mode="json")


def model_json(model: SeenModel) -> dict[str, Any]:
    """Return a model: its card, the workers that serve it, and why others could not load it."""
    return {**model.card.model_dump(mode="json"), "resident": list(model.resident), "broken": dict(model.broken or {})}


def parts_text(parts: Mapping[str, str]) -> str:
    """Return where a model's parts come from, in one line: the place of most, then what comes from elsewhere."""
    if not parts:
        return "-"
    places = list(parts.values())
    usual = max(dict.fromkeys(places), key=places.count)
    others = [f"{part.replace('_', ' ')}: {place}" for part, place in parts.items() if place != usual]
    return "; ".join([usual, *others])


def openai_model_json(card: ModelCard) -> dict[str, Any]:
    """Return a model as OpenAI's clients read it. When a checkpoint was made nobody knows: 0."""
    return {"id": card.name, "object": "model", "created": 0, "owned_by": "sigmafarm"}


def queue_json(queue: QueueInfo, workers: Sequence[WorkerInfo]) -> dict[str, Any]:
    """Return what waits for one model, and why it does where no living worker takes its jobs."""
    waiting = {str(priority): num for priority, num in queue.waiting.items()}
    return {**asdict(queue), "waiting": waiting, "why": why_none_takes(queue.model, workers)}


def skipped_json(rows: Iterable[RowError]) -> list[dict[str, Any]]:
    """Return the bad rows that were left out of a submission."""
    return [{"row": row.row, "errors": [str(error) for error in row.fields]} for row in rows]


def error_json(error: SigmafarmError) -> dict[str, Any]:
    """Return an error as the API's errors are (a code, a sentence, the bad fields), with the bad rows if it has any."""
    fields = [{"field": each.field, "message": each.message} for each in error.fields]
    made = {"code": error.code, "message": str(error), "fields": fields, "retryable": error.retryable}
    if isinstance(error, InvalidRows):
        made |= {"rows": skipped_json(error.rows), "num_bad": error.num_bad}
    return made


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return what a submission would be: its number of jobs, and the first of them."""
    return {
        "num_jobs": plan.num_jobs,
        "jobs": [request.said() for request in plan.first],
        "skipped": skipped_json(plan.skipped),
        "num_skipped": plan.num_skipped,
    }
