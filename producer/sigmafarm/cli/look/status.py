"""`sigmafarm status`: the farm, a batch or a job, as it is or as it goes on."""

from __future__ import annotations

import threading
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from sigmafarm.cli.output import (
    STATE_STYLES,
    Json,
    Rows,
    counts_text,
    exit_code_of,
    out,
    print_json,
    say,
    show,
    store_of,
    time_text,
)
from sigmafarm.console import line
from sigmafarm.forecast import Forecaster, eta_words, turn_words
from sigmafarm.shapes import batch_json, eta_json, job_json, queue_json, worker_json
from sigmafarm.takers import why_it_waits, why_job_waits, why_none_takes
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide, Store
from sigmafarm_common.store.values import BEST_RATING
from sigmafarm_common.visible import visible
from sigmafarm_common.wording import numbered

#: Pause between two looks at a farm that is followed.
LOOK_S = 0.5


def status(
    context: typer.Context,
    thing: Annotated[str | None, typer.Argument(metavar="[BATCH | JOB]", help="Nothing for the whole farm")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it is done")] = False,
    limit: Annotated[int, typer.Option(help="Batches of the whole farm to show")] = 20,
    is_json: Json = False,
) -> None:
    """Show the farm, a batch, or a job."""
    store = store_of(context)
    if thing is None:
        _farm_status(store, limit, has_watch=watch, is_json=is_json)
    elif "-" in thing:
        job = _watched(store, thing) if watch else store.job(thing)
        turn = Forecaster(store, SystemClock()).of_job(job)
        if is_json:
            print_json(job_json(job, *turn))
        else:
            out().print(_job_view(job, turn_words(*turn), why_job_waits(store, job, store.batch(job.batch_id))))
        if watch and job.state is not JobState.SUCCEEDED:
            raise typer.Exit(1)
    elif watch:
        _watch_batch(store, thing, is_json=is_json)
    else:
        batch = store.batch(thing)
        eta = Forecaster(store, SystemClock()).of_batch(batch)
        if is_json:
            print_json(batch_json(batch, eta))
        else:
            out().print(_batch_view(batch, eta_words(eta), why_it_waits(store, batch)))


def farm_json(store: ReadSide, limit: int) -> dict[str, Any]:
    """Return the whole farm as --json shows it."""
    living, of_batch = store.workers(), Forecaster(store, SystemClock()).of_batch
    return {
        "batches": [batch_json(batch, of_batch(batch)) for batch in store.batches(limit=limit)],
        "queues": [queue_json(queue, living) for queue in store.queues()],
        "workers": [worker_json(worker) for worker in living],
    }


def farm_parts(store: ReadSide, limit: int) -> list[Text | Rows]:
    """Return the whole farm for people: its workers, what waits, its newest batches."""
    living, queues = store.workers(), store.queues()
    slots, filled = sum(w.slots for w in living), sum(w.num_filled for w in living)
    num_waiting = {q.model: sum(q.waiting.values()) + q.dispatched for q in queues}
    waiting = sum(num_waiting.values())
    who = numbered(len(living), "worker")
    head = f"{who}, {filled} of {slots} slots busy, {numbered(waiting, 'job')} waiting"
    forecaster = Forecaster(store, SystemClock())
    rows = [_batch_row(batch, _left(forecaster, batch)) for batch in store.batches(limit=limit)]
    ill = [line(f"worker {w.id} takes no jobs: {w.failing}", "red") for w in living if w.failing]
    idle = [why_none_takes(model, living) for model, num in num_waiting.items() if num]
    ill += [line(why, "red") for why in idle if why]
    return [line(head, "bold"), *ill, Rows(["batch", "title", ">priority", "jobs", ">done", "left", "submitted"], rows)]


def farm_view(store: ReadSide, limit: int) -> Group:
    """Return the same as one thing, for a terminal."""
    return Group(*farm_parts(store, limit))


def _farm_status(store: ReadSide, limit: int, *, has_watch: bool, is_json: bool) -> None:
    if is_json:
        print_json(farm_json(store, limit))
    elif not has_watch:
        show(*farm_parts(store, limit))
    else:
        from rich.live import Live  # what follows a farm has time; one look has none

        with Live(farm_view(store, limit), console=out(), auto_refresh=False) as live:
            while not threading.Event().wait(LOOK_S):
                live.update(farm_view(store, limit), refresh=True)


def _watched(store: ReadSide, job_id: str) -> Job:
    from sigmafarm.waiting import wait_for_job

    return wait_for_job(store, job_id, SystemClock())


def _watch_batch(store: Store, batch_id: str, *, is_json: bool) -> None:
    from sigmafarm.awaited import Awaited
    from sigmafarm.waiting import POLL_S, Idleness, wait_for_batch

    read = Awaited(lambda: store.batch(batch_id), f"batch {batch_id}")
    read()
    if is_json:
        last: dict[str, Any] = {}
        idleness, forecaster = Idleness(store, SystemClock(), say), Forecaster(store, SystemClock())
        while not last.get("is_done"):
            batch = read()
            idleness.look(batch)
            now = batch_json(batch)
            if now != last:
                print_json({**now, **eta_json(forecaster.of_batch(batch))})
            last = now
            threading.Event().wait(0 if now["is_done"] else POLL_S)
        raise typer.Exit(1 if last["counts"]["failed"] or last["counts"]["cancelled"] else 0)
    counts = wait_for_batch(store, batch_id, SystemClock(), has_progress=True)
    out().print(_batch_view(read()))
    raise typer.Exit(exit_code_of(counts))


def _batch_view(batch: Batch, left: str = "", why: str = "") -> Group:
    paused = " (paused)" if batch.is_paused else ""
    lines = [
        line(f"batch {batch.id} {'' if batch.title == batch.id else batch.title}{paused}".rstrip(), "bold"),
        Text.assemble("jobs      ", counts_text(batch.counts), f" of {batch.counts.total}"),
        line(f"done      {_share(batch)}" + (f", {left} left" if left else "")),
        line(f"priority  {batch.priority}, owner {batch.owner}"),
        line(f"submitted {time_text(batch.created_ms)}, finished {time_text(batch.finished_ms)}"),
    ]
    if why:
        lines.append(line(why, "red"))
    if batch.warnings:
        lines.append(line("warnings  " + ", ".join(f"{num} {code}" for code, num in batch.warnings.items()), "yellow"))
    if batch.defaults:
        lines.append(line("defaults  " + ", ".join(f"{k}={v}" for k, v in batch.defaults.items())))
    return Group(*lines)


def _job_view(job: Job, turn: str, why: str) -> Group:
    said = job.request.said()
    said |= {f"columns.{name}": text for name, text in said.pop("columns", {}).items()}
    lines = [
        Text.assemble(
            (f"job {visible(job.id)} ", "bold"),
            (job.state, STATE_STYLES[job.state]),
            f" step {job.step} of {job.num_steps}",
        ),
        *([line(turn)] if turn else []),
        *([line(why, "red")] if why else []),
        *(line(f"{name:<20}{value}") for name, value in said.items()),
        line(f"submitted {time_text(job.submitted_ms)}, started {time_text(job.started_ms)}"),
        line(f"finished {time_text(job.finished_ms)}"),
    ]
    if job.image_key:
        lines.append(line(f"picture {job.image_key}, {job.size_bytes} bytes, SHA-256 {job.sha256}"))
    if job.rating:
        lines.append(line(f"rated {job.rating} of {BEST_RATING}"))
    lines += [line(f"warning {each.code}: {each.text}", "yellow") for each in job.warnings]
    if job.error:
        lines.append(line(f"error {job.error_code}: {job.error}", "red"))
    lines += [line(f"try {n}: {a.outcome} on {a.worker}: {a.error}", "dim") for n, a in enumerate(job.history, start=1)]
    return Group(*lines)


def _share(batch: Batch) -> str:
    return f"{batch.counts.percent_done}%" if batch.counts.total else "-"


def _batch_row(batch: Batch, left: str) -> tuple[str | Text, ...]:
    jobs, submitted = counts_text(batch.counts), time_text(batch.created_ms)
    return (batch.id, batch.title, str(batch.priority), jobs, _share(batch), left, submitted)


def _left(forecaster: Forecaster, batch: Batch) -> str:
    """Return how long a batch will take: a dash for one that is over, a question mark where nobody can say."""
    return "-" if batch.counts.is_done else eta_words(forecaster.of_batch(batch)) or "?"
