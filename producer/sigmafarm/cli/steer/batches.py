"""The commands that change what was submitted: cancel, pause, resume, retry, priority."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmafarm.cli.output import Json, farm_of, print_json, say
from sigmafarm.farm import Farm
from sigmafarm.shapes import batch_json
from sigmafarm_common.states import JobState
from sigmafarm_common.wording import numbered

Batch = Annotated[str, typer.Argument(metavar="BATCH")]
Thing = Annotated[str, typer.Argument(metavar="BATCH | JOB")]


def cancel(context: typer.Context, thing: Thing, is_json: Json = False) -> None:
    """Cancel every queued and running job of a batch, or one job."""
    farm = farm_of(context)
    if "-" in thing:
        state = farm.store.cancel_job(thing)
        _report(farm, thing, f"job {thing} is {state}", is_json=is_json)
    else:
        _report(farm, thing, f"{numbered(farm.batch(thing).cancel(), 'job')} cancelled", is_json=is_json)


def pause(context: typer.Context, batch_id: Batch, is_json: Json = False) -> None:
    """Stop drawing a batch; running jobs go back to the queue."""
    farm = farm_of(context)
    is_over = farm.batch(batch_id).pause().counts.is_done
    what = "paused, though all its jobs have ended: those that are retried will wait" if is_over else "paused"
    _report(farm, batch_id, what, is_json=is_json)


def resume(context: typer.Context, batch_id: Batch, is_json: Json = False) -> None:
    """Go on with a paused batch."""
    farm = farm_of(context)
    farm.batch(batch_id).resume()
    _report(farm, batch_id, "goes on", is_json=is_json)


def retry(
    context: typer.Context,
    thing: Thing,
    cancelled: Annotated[bool, typer.Option("--cancelled", help="Cancelled jobs too")] = False,
    is_json: Json = False,
) -> None:
    """Queue the failed jobs of a batch again, or one job."""
    farm = farm_of(context)
    if "-" in thing:
        farm.store.retry_job(thing)
        _report(farm, thing, f"job {thing} is queued", is_json=is_json)
        return
    states = (JobState.FAILED, JobState.CANCELLED) if cancelled else (JobState.FAILED,)
    num_queued = farm.batch(thing).retry(states=states)
    _report(farm, thing, f"{numbered(num_queued, 'job')} queued again", is_json=is_json)


def priority(
    context: typer.Context,
    batch_id: Batch,
    value: Annotated[int, typer.Argument(metavar="PRIORITY", help="-100 to 100; higher goes first")],
    is_json: Json = False,
) -> None:
    """Change the priority of what still waits of a batch."""
    farm = farm_of(context)
    farm.batch(batch_id).set_priority(value)
    _report(farm, batch_id, f"priority {value}", is_json=is_json)


def _report(farm: Farm, thing: str, what: str, *, is_json: bool) -> None:
    batch_id = thing.partition("-")[0]
    if is_json:
        print_json(batch_json(farm.batch(batch_id).record))
    else:
        say(f"batch {batch_id}: {what}")
