"""`sigmafarm workers` and `models`: lists; jobs.py has another. Each has --json."""

from __future__ import annotations

import typer
from rich.text import Text

from sigmafarm.cli.output import Json, Rows, farm_of, print_json, say, show
from sigmafarm.shapes import model_json, parts_text, worker_json
from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.residents import SeenModel


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
            _slots(w),
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


def _slots(worker: WorkerInfo) -> str:
    """Return how many of its slots are full; what it has ahead is in none of them yet."""
    ahead = worker.num_jobs - worker.num_filled
    return f"{worker.num_filled}/{worker.slots}" + (f" +{ahead}" if ahead else "")


def _mood(worker: WorkerInfo) -> str:
    if worker.failing:
        return "failing: " + worker.failing
    return "draining" if worker.is_draining else "ready"
