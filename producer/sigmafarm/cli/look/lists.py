"""`sigmafarm jobs`, `workers` and `models`: lists. Each has --json."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from sigmafarm.cli.look.job_fields import chosen_fields, write_fields
from sigmafarm.cli.output import STATE_STYLES, Json, Rows, farm_of, print_json, say, show
from sigmafarm.shapes import job_json, model_json, parts_text, worker_json
from sigmafarm.where import Where
from sigmafarm_common.errors import MAX_SENTENCE_CHARS, cut
from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.records import Job, WorkerInfo
from sigmafarm_common.residents import SeenModel
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import BEST_RATING
from sigmafarm_common.visible import visible


def jobs(
    context: typer.Context,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH")],
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state")] = None,
    warning: Annotated[str | None, typer.Option(help="Only jobs with this warning: prompt_cut")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only jobs whose row has it in a column: id=A7; or line=12"),
    ] = None,
    rated: Annotated[
        int | None, typer.Option(min=1, max=BEST_RATING, help="Only pictures rated so high or higher")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most; 0 for all")] = 100,
    fields: Annotated[str | None, typer.Option(help="Only these, such as row,state,seed,prompt,columns.id")] = None,
    is_csv: Annotated[bool, typer.Option("--csv", help="As CSV with a header")] = False,
    is_json: Json = False,
) -> None:
    """List the jobs of a batch in row order."""
    chosen = chosen_fields(fields) if fields is not None or is_csv else ()
    columns = [Where.parse(text) for text in where or ()]
    batch = farm_of(context).batch(batch_id)
    wanted = (job for job in batch.jobs(state=state) if warning in (None, *(each.code for each in job.warnings)))
    wanted = (job for job in wanted if all(each.matches(job) for each in columns))
    wanted = (job for job in wanted if job.rating >= (rated or 0))
    found = list(islice(wanted, limit or None))
    if is_json:
        print_json({"batch": batch_id, "jobs": [job_json(job) for job in found]})
        return
    if chosen:
        write_fields(found, chosen, is_csv=is_csv)
        return
    heads = ["job", "state", ">step", ">tries", "worker", "warnings", "prompt or error"]
    show(Rows(heads, [_job_row(job) for job in found]))
    if limit and len(found) == limit:
        say(f"the first {limit}; --limit 0 lists all")


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


def _job_row(job: Job) -> tuple[str | Text, ...]:
    said = cut(job.error, MAX_SENTENCE_CHARS) or job.request.prompt
    tries = str(job.attempts + job.losses)
    return (
        job.id,
        Text(job.state, STATE_STYLES[job.state]),
        f"{job.step}/{job.num_steps}",
        tries,
        job.worker or "-",
        Text(", ".join(visible(each.code) for each in job.warnings) or "-", "yellow" if job.warnings else ""),
        said,
    )


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


def _mood(worker: WorkerInfo) -> str:
    if worker.failing:
        return "failing: " + worker.failing
    return "draining" if worker.is_draining else "ready"
