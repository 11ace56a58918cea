"""The commands that only read: status, workers, models, config; jobs.py has another. Each has --json."""

from __future__ import annotations

import threading
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from sigmafarm.cli.output import (
    STATE_STYLES,
    Json,
    Rows,
    config_of,
    counts_text,
    exit_code_of,
    farm_of,
    out,
    print_json,
    say,
    show,
    time_text,
)
from sigmafarm.console import line
from sigmafarm.farm import Farm
from sigmafarm.forecast import Forecaster, eta_words, turn_words
from sigmafarm.shapes import batch_json, eta_json, job_json, model_json, parts_text, queue_json, worker_json
from sigmafarm.takers import why_none_takes
from sigmafarm.waiting import POLL_S, Idleness, wait_for_batch, wait_for_job
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.config import unknown_variables
from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.records import Batch, Job, WorkerInfo
from sigmafarm_common.residents import SeenModel
from sigmafarm_common.states import JobState
from sigmafarm_common.visible import visible


def status(
    context: typer.Context,
    thing: Annotated[str | None, typer.Argument(metavar="[BATCH | JOB]", help="Nothing for the whole farm")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it is done")] = False,
    limit: Annotated[int, typer.Option(help="Batches of the whole farm to show")] = 20,
    is_json: Json = False,
) -> None:
    """Show the farm, a batch, or a job."""
    farm = farm_of(context)
    if thing is None:
        _farm_status(farm, limit, has_watch=watch, is_json=is_json)
    elif "-" in thing:
        job = wait_for_job(farm.store, thing, SystemClock()) if watch else farm.job(thing)
        turn = Forecaster(farm.store, SystemClock()).of_job(job)
        print_json(job_json(job, *turn)) if is_json else out().print(_job_view(job, turn_words(*turn)))
        if watch and job.state is not JobState.SUCCEEDED:
            raise typer.Exit(1)
    elif watch:
        _watch_batch(farm, thing, is_json=is_json)
    else:
        batch = farm.batch(thing).record
        eta = Forecaster(farm.store, SystemClock()).of_batch(batch)
        print_json(batch_json(batch, eta)) if is_json else out().print(_batch_view(batch, eta_words(eta)))


def workers(context: typer.Context, is_json: Json = False) -> None:
    """List the workers that live."""
    found = farm_of(context).workers()
    if is_json:
        print_json({"workers": [worker_json(worker) for worker in found]})
        return
    rows = [
        (
            w.id,
            w.device,
            ", ".join(w.models),
            f"{w.num_jobs}/{w.slots}",
            str(w.num_done),
            f"{w.step_s:.3f}",
            _mood(w),
        )
        for w in found
    ]
    show(Rows(["worker", "device", "models", ">jobs", ">done", ">s a step", "state"], rows))
    if not found:
        say("no worker lives: start one with `sigmafarm worker` or `sigmafarm up`")
    for namesakes in find_namesakes(found):
        say(f"warning: {namesakes}")


def models(context: typer.Context, is_json: Json = False) -> None:
    """List the models that requests may name: size, what each is made of, who serves it, what is wrong with it."""
    farm = farm_of(context)
    found = farm.seen_models()
    if is_json:
        print_json({"models": [model_json(model) for model in found]})
        return
    columns = ["model", ">size", "predicts", "fingerprint", "resident on", "parts", "defaults", "description"]
    show(Rows(columns, [_model_row(model) for model in found]))
    for model in found:
        for problem in model.problems:
            say(f"warning: {model.card.name} cannot be loaded: {problem}")
    for namesakes in find_namesakes(farm.workers()):
        say(f"warning: {namesakes}")
    if not found:
        say("no model is known yet: start a worker, or name models in SIGMAFARM_MODELS_FILE")


def config(context: typer.Context, is_json: Json = False) -> None:
    """Show every setting and where it comes from; secrets are masked."""
    found, warnings = config_of(context).sources(), unknown_variables()
    if is_json:
        fields = ("name", "variable", "value", "source", "description")
        print_json({"settings": [{f: getattr(s, f) for f in fields} for s in found], "warnings": warnings})
        return
    rows = [(s.variable, s.value or "-", Text(s.source, "dim" if s.source == "default" else "green")) for s in found]
    show(Rows(["variable", "value", "source"], rows))
    for warning in warnings:
        say(f"warning: {warning}")


def farm_json(farm: Farm, limit: int) -> dict[str, Any]:
    """Return the whole farm as --json shows it."""
    living, of_batch = farm.workers(), Forecaster(farm.store, SystemClock()).of_batch
    return {
        "batches": [batch_json(batch, of_batch(batch)) for batch in farm.batches(limit=limit)],
        "queues": [queue_json(queue, living) for queue in farm.queues()],
        "workers": [worker_json(worker) for worker in living],
    }


def farm_parts(farm: Farm, limit: int) -> list[Text | Rows]:
    """Return the whole farm for people: its workers, what waits, its newest batches."""
    living, queues = farm.workers(), farm.queues()
    slots, busy = sum(w.slots for w in living), sum(w.num_jobs for w in living)
    num_waiting = {q.model: sum(q.waiting.values()) + q.dispatched for q in queues}
    waiting = sum(num_waiting.values())
    who = "1 worker" if len(living) == 1 else f"{len(living)} workers"
    head = f"{who}, {busy} of {slots} slots busy, {waiting} {'job' if waiting == 1 else 'jobs'} waiting"
    forecaster = Forecaster(farm.store, SystemClock())
    rows = [_batch_row(batch, _left(forecaster, batch)) for batch in farm.batches(limit=limit)]
    ill = [line(f"worker {w.id} takes no jobs: {w.failing}", "red") for w in living if w.failing]
    idle = [why_none_takes(model, living) for model, num in num_waiting.items() if num]
    ill += [line(why, "red") for why in idle if why]
    return [line(head, "bold"), *ill, Rows(["batch", "title", ">priority", "jobs", ">done", "left", "submitted"], rows)]


def farm_view(farm: Farm, limit: int) -> Group:
    """Return the same as one thing, for a terminal."""
    return Group(*(part.table() if isinstance(part, Rows) else part for part in farm_parts(farm, limit)))


def _farm_status(farm: Farm, limit: int, *, has_watch: bool, is_json: bool) -> None:
    if is_json:
        print_json(farm_json(farm, limit))
    elif not has_watch:
        show(*farm_parts(farm, limit))
    else:
        with Live(farm_view(farm, limit), console=out(), auto_refresh=False) as live:
            while not threading.Event().wait(2 * POLL_S):
                live.update(farm_view(farm, limit), refresh=True)


def _watch_batch(farm: Farm, batch_id: str, *, is_json: bool) -> None:
    farm.batch(batch_id)
    if is_json:
        last: dict[str, Any] = {}
        idleness, forecaster = Idleness(farm.store, SystemClock(), say), Forecaster(farm.store, SystemClock())
        while not last.get("is_done"):
            batch = farm.batch(batch_id).record
            idleness.look(lambda batch=batch: batch)
            now = batch_json(batch)
            if now != last:
                print_json({**now, **eta_json(forecaster.of_batch(batch))})
            last = now
            threading.Event().wait(0 if now["is_done"] else POLL_S)
        raise typer.Exit(1 if last["counts"]["failed"] or last["counts"]["cancelled"] else 0)
    counts = wait_for_batch(farm.store, batch_id, SystemClock(), has_progress=True)
    out().print(_batch_view(farm.batch(batch_id).record))
    raise typer.Exit(exit_code_of(counts))


def _batch_view(batch: Batch, left: str = "") -> Group:
    paused = " (paused)" if batch.is_paused else ""
    lines = [
        line(f"batch {batch.id} {'' if batch.title == batch.id else batch.title}{paused}".rstrip(), "bold"),
        Text.assemble("jobs      ", counts_text(batch.counts), f" of {batch.counts.total}"),
        line(f"done      {_share(batch)}" + (f", {left} left" if left else "")),
        line(f"priority  {batch.priority}, owner {batch.owner}"),
        line(f"submitted {time_text(batch.created_ms)}, finished {time_text(batch.finished_ms)}"),
    ]
    if batch.warnings:
        lines.append(line("warnings  " + ", ".join(f"{num} {code}" for code, num in batch.warnings.items()), "yellow"))
    if batch.defaults:
        lines.append(line("defaults  " + ", ".join(f"{k}={v}" for k, v in batch.defaults.items())))
    return Group(*lines)


def _job_view(job: Job, turn: str = "") -> Group:
    lines = [
        Text.assemble(
            (f"job {visible(job.id)} ", "bold"),
            (job.state, STATE_STYLES[job.state]),
            f" step {job.step} of {job.num_steps}",
        ),
        *([line(turn)] if turn else []),
        *(line(f"{name:<20}{value}") for name, value in job.request.said().items()),
        line(f"submitted {time_text(job.submitted_ms)}, started {time_text(job.started_ms)}"),
        line(f"finished {time_text(job.finished_ms)}"),
    ]
    if job.image_key:
        lines.append(line(f"picture {job.image_key}, {job.size_bytes} bytes, SHA-256 {job.sha256}"))
    lines += [line(f"warning {each.code}: {each.text}", "yellow") for each in job.warnings]
    if job.error:
        lines.append(line(f"error {job.error_code}: {job.error}", "red"))
    lines += [line(f"try {n}: {a.outcome} on {a.worker}: {a.error}", "dim") for n, a in enumerate(job.history, start=1)]
    return Group(*lines)


def _model_row(model: SeenModel) -> tuple[str | Text, ...]:
    card = model.card
    width, height = card.defaults.get("width"), card.defaults.get("height")
    others = {name: value for name, value in card.defaults.items() if name not in ("width", "height")}
    return (
        card.name,
        f"{width}x{height}" if width and height else "-",
        card.prediction_type or "-",
        card.fingerprint or "-",
        Text("broken", "red") if model.problems and not model.resident else ", ".join(model.resident) or "-",
        parts_text(card.parts),
        ", ".join(f"{name}={value}" for name, value in others.items()),
        "; ".join(filter(None, (card.description, f"also {', '.join(card.aliases)}" if card.aliases else ""))),
    )


def _share(batch: Batch) -> str:
    return f"{batch.counts.percent_done}%" if batch.counts.total else "-"


def _batch_row(batch: Batch, left: str) -> tuple[str | Text, ...]:
    jobs, submitted = counts_text(batch.counts), time_text(batch.created_ms)
    return (batch.id, batch.title, str(batch.priority), jobs, _share(batch), left, submitted)


def _left(forecaster: Forecaster, batch: Batch) -> str:
    """Return how long a batch will take: a dash for one that is over, a question mark where nobody can say."""
    return "-" if batch.counts.is_done else eta_words(forecaster.of_batch(batch)) or "?"


def _mood(worker: WorkerInfo) -> str:
    if worker.failing:
        return "failing: " + worker.failing
    return "draining" if worker.is_draining else "ready"
