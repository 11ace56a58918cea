"""A farm, a batch and a job as notebooks show them."""

from __future__ import annotations

from collections.abc import Sequence

from sigmafarm.figures import images_per_s, work_left
from sigmafarm.notebooks.pieces import counts_bar, counts_words, link, picture, table, text
from sigmafarm.spans import span_range
from sigmafarm.takers import why_all_wait, why_none_takes
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Batch, Job, WorkerInfo
from sigmafarm_common.settings import SETTING_FIELDS
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Pace, QueueInfo

#: Pictures that are shown of a batch, and the side of each in pixels; the side of a job's picture.
NUM_PICTURES, SIDE_PX, LARGE_SIDE_PX = 8, 96, 256
#: Batches that are shown of a farm, the newest.
NUM_BATCHES = 5
#: Workers that are named.
NUM_WORKERS = 5


def batch_html(batch: Batch, drawn: Sequence[Job], objects: ObjectStore, page: str = "") -> str:
    """Return a batch: its bar, counts and first pictures, and a link to its page where there is one. A picture that
    cannot be read is left out."""
    pictures = "".join(picture(job, objects, SIDE_PX) for job in drawn[:NUM_PICTURES])
    paused = " (paused)" if batch.is_paused else ""
    head = f"<div><b>{_title(batch)}</b>{paused} <code>{text(batch.id)}</code> {link(page, 'dashboard')}</div>"
    return f"{head}{counts_bar(batch.counts)}<div>{counts_words(batch.counts)}</div><div>{pictures}</div>"


def job_html(job: Job, objects: ObjectStore, page: str = "") -> str:
    """Return a job: its picture, its state, why it failed, what it was drawn with."""
    image = picture(job, objects, LARGE_SIDE_PX)
    head = f"<div><b>{text(job.state)}</b> <code>{text(job.id)}</code> {link(page, 'dashboard')}</div>"
    why = f"<div>{text(job.error_code)}: {text(job.error)}</div>" if job.state is JobState.FAILED else ""
    if job.state is JobState.RUNNING:
        why = f"<div>step {job.step} of {job.num_steps} on worker {text(job.worker)}</div>"
    warnings = "".join(f"<div>warning: {text(warning.text)}</div>" for warning in job.warnings)
    return f"{head}{image}<div>{text(job.request.prompt)}</div>{why}{warnings}{table(_settings(job))}"


def farm_html(
    batches: Sequence[Batch],
    workers: Sequence[WorkerInfo],
    queues: Sequence[QueueInfo],
    pace: Sequence[Pace],
    now_ms: float,
    page: str = "",
) -> str:
    """Return a farm: who draws, how fast, what is left, its newest batches."""
    rows = [("workers", _workers(workers)), ("pace", _speed(images_per_s(pace, now_ms)))]
    rows += [("waits", text(why)) for why in _why_it_waits(queues, workers)]
    rows.append(("work left", _work(queues, workers, pace)))
    head = f"<div><b>Farm</b> {link(page, 'dashboard')}</div>"
    return f"{head}{table(rows)}{_batches(batches, workers)}"


def _title(batch: Batch) -> str:
    return text(batch.title)


def _settings(job: Job) -> list[tuple[str, str]]:
    said = job.request.said()
    return [
        (field.label, text(field.shown(said[name])))
        for name, field in SETTING_FIELDS.items()
        if name in said and name != "prompt" and said[name] != ""
    ]


def _workers(workers: Sequence[WorkerInfo]) -> str:
    if not workers:
        return "none lives"
    named = ", ".join(
        f"{text(each.id)} ({text(each.device)}: {text(', '.join(each.models)) or 'no model'}"
        f"{'' if each.takes_jobs else '; takes no jobs'})"
        for each in workers[:NUM_WORKERS]
    )
    more = f" and {len(workers) - NUM_WORKERS} more" if len(workers) > NUM_WORKERS else ""
    return f"{named}{more}"


def _why_it_waits(queues: Sequence[QueueInfo], workers: Sequence[WorkerInfo]) -> list[str]:
    waiting = [queue.model for queue in queues if any(queue.waiting.values()) or queue.dispatched]
    return [why for model in waiting if (why := why_none_takes(model, workers))]


def _speed(per_s: float) -> str:
    return f"{per_s:.2f} pictures a second, over the last minute" if per_s else "nothing drawn in the last minute"


def _work(queues: Sequence[QueueInfo], workers: Sequence[WorkerInfo], pace: Sequence[Pace]) -> str:
    cost = sum(queue.open_cost for queue in queues)
    num_taking = sum(worker.takes_jobs for worker in workers)
    if not cost:
        return "none"
    if not num_taking:
        return "no worker takes jobs"
    work = work_left(cost, pace, num_taking)
    return span_range(work.work_s, work.work_s) + ("" if work.is_measured else ", a guess: nothing was drawn yet")


def _batches(batches: Sequence[Batch], workers: Sequence[WorkerInfo]) -> str:
    if not batches:
        return "<div>no batches yet</div>"
    return "".join(
        f"<div><b>{_title(each)}</b> <code>{text(each.id)}</code></div>{counts_bar(each.counts)}"
        f"<div>{counts_words(each.counts)}{_because(why_all_wait(each, workers))}</div>"
        for each in batches[:NUM_BATCHES]
    )


def _because(why: str) -> str:
    return f"; {text(why)}" if why else ""
