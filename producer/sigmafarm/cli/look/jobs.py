"""`sigmafarm jobs`: the jobs of a batch, or of all batches, by what they are searched for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from sigmafarm.cli.look.job_fields import chosen_fields, write_fields
from sigmafarm.cli.output import STATE_STYLES, Json, Rows, print_json, say, show, store_of
from sigmafarm.forecast import Forecaster, eta_words
from sigmafarm.search import Found, JobFilter, JobOrder, find_jobs, find_jobs_of_farm, found_in, sorted_jobs, told
from sigmafarm.shapes import found_json, job_json
from sigmafarm.where import Where
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import MAX_SENTENCE_CHARS, InvalidInput, cut
from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.store.values import BEST_RATING
from sigmafarm_common.visible import visible

#: Jobs that are read whole at once.
READ_JOBS = 500


def jobs(
    context: typer.Context,
    batch_id: Annotated[
        str | None, typer.Argument(metavar="BATCH", help="Nothing for those of all batches, the newest first")
    ] = None,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state")] = None,
    search: Annotated[
        str, typer.Option(help="Words of the prompt, and seed:7, steps:20..30, worker:gpu1, error:nan, ...")
    ] = "",
    sort: Annotated[
        JobOrder,
        typer.Option(metavar="ORDER", help="row, state, seed, steps, took or worker; --sort=-seed: the largest first"),
    ] = JobOrder.ROW,
    owner: Annotated[str | None, typer.Option(help="Of all batches, only those of this owner")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only jobs whose row has it in a column: id=A7; or line=12"),
    ] = None,
    warning: Annotated[str, typer.Option(help="Only jobs with this warning: prompt_cut")] = "",
    rated: Annotated[
        int | None, typer.Option(min=1, max=BEST_RATING, help="Only pictures rated so high or higher")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most; 0 for all")] = 100,
    fields: Annotated[str | None, typer.Option(help="Only these, such as row,state,seed,prompt,columns.id")] = None,
    is_csv: Annotated[bool, typer.Option("--csv", help="As CSV with a header")] = False,
    is_json: Json = False,
) -> None:
    """List the jobs of a batch, or of all batches; a search says how many there are."""
    chosen = chosen_fields(fields) if fields is not None or is_csv else ()
    if batch_id is None and not sort.is_by_row:
        raise InvalidInput(f"--sort {sort} is for one batch: name it, or leave --sort out")
    states, columns = frozenset({state} if state else ()), tuple(Where.parse(text) for text in where or ())
    store, wanted = store_of(context), JobFilter(states, search=search, warning=warning, where=columns)
    has_search = not wanted.is_by_state_only or batch_id is None or sort is not JobOrder.ROW
    looked = _looked(store, batch_id, wanted, sort, owner) if has_search else None
    ids = looked.ids[: None if rated else limit or None] if looked else []
    found = _whole(store, ids) if looked else _listed(store, batch_id, state)
    found = list(islice((job for job in found if job.rating >= (rated or 0)), limit or None))
    is_searched = bool(search.strip() or columns) and not rated  # how many of those are rated was not counted
    if is_json:
        said = {"found": found_json(wanted, looked)} if looked and is_searched else {}
        print_json({"batch": batch_id, "jobs": [job_json(job) for job in found], **said})
    elif chosen:
        write_fields(found, chosen, is_csv=is_csv)
    else:
        _show(found, limit)
    if looked and is_searched and not is_json:
        say(told(wanted, looked))
    if batch_id and not chosen and not is_json:
        _say_how_far(store, batch_id)


def _say_how_far(store: ReadSide, batch_id: str) -> None:
    """Say how much of a batch is done and how long the rest takes, where somebody can say."""
    batch = store.batch(batch_id)
    if left := eta_words(Forecaster(store, SystemClock()).of_batch(batch)):
        say(f"{batch.counts.percent_done}% done, {left} left")


def _show(found: Iterable[Job], limit: int) -> None:
    rows = [_job_row(job) for job in found]
    show(Rows(["job", "state", ">step", ">tries", "worker", "warnings", "prompt or error"], rows))
    if limit and len(rows) == limit:
        say(f"the first {limit}; --limit 0 lists all")


def _listed(store: ReadSide, batch_id: str | None, state: JobState | None) -> Iterator[Job]:
    assert batch_id is not None, "all batches are looked at, not listed"
    store.batch(batch_id)  # one that is not there has no empty list
    return iter(all_jobs(store, batch_id, state=state))


def _looked(store: ReadSide, batch_id: str | None, wanted: JobFilter, sort: JobOrder, owner: str | None) -> Found:
    """Return what is meant, however long it takes to look at all."""
    if batch_id is None:
        return find_jobs_of_farm(store, wanted, owner=owner, is_bounded=False)
    batch = store.batch(batch_id)
    if not sort.is_by_row:
        return found_in(sorted_jobs(store, batch, wanted, sort, is_bounded=False), batch.counts.total)
    return find_jobs(store, batch, wanted, is_down=sort.is_down, is_bounded=False)


def _whole(store: ReadSide, ids: list[str]) -> Iterator[Job]:
    for at in range(0, len(ids), READ_JOBS):
        yield from store.jobs_named(ids[at : at + READ_JOBS])


def _job_row(job: Job) -> tuple[str | Text, ...]:
    said = cut(job.error, MAX_SENTENCE_CHARS) or job.request.prompt
    tries = str(job.attempts + job.losses + (job.state in (JobState.RUNNING, JobState.SUCCEEDED)))
    return (
        job.id,
        Text(job.state, STATE_STYLES[job.state]),
        f"{job.step}/{job.num_steps}",
        tries,
        job.worker or "-",
        Text(", ".join(visible(each.code) for each in job.warnings) or "-", "yellow" if job.warnings else ""),
        said,
    )
