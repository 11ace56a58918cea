"""`sigmafarm submit`: prompts in, a batch out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from sigmafarm.batch import FarmBatch
from sigmafarm.cli.flag_names import row_in_flags
from sigmafarm.cli.look.download import NameBy, download_all, download_json
from sigmafarm.cli.output import Json, counts_text, exit_code_of, farm_of, out, print_json, say
from sigmafarm.cli.submit.bad_rows import BadRowsFile
from sigmafarm.cli.submit.plan import count_first, show_plan
from sigmafarm.cli.submit.setting_flags import with_setting_flags
from sigmafarm.download import Download
from sigmafarm.farm import Farm
from sigmafarm.inputs import STDIN, InputFormat, read_rows
from sigmafarm.items import Item
from sigmafarm.kept_columns import KeptColumns
from sigmafarm.matrices import MatrixSaid
from sigmafarm.shapes import batch_json, plan_json, skipped_json
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Job
from sigmafarm_common.store.ids import job_id
from sigmafarm_common.wording import numbered

#: Bad rows that are spelled out when they are skipped.
SHOWN_ROWS = 20
#: Failed jobs whose errors are said at the end of a wait.
SHOWN_FAILURES = 5


@with_setting_flags
def submit(
    context: typer.Context,
    file: Annotated[
        str | None, typer.Argument(help="Prompts: lines of text, .csv, .tsv, .json or .jsonl; - for stdin")
    ] = None,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="A prompt; may be said again")] = None,
    input_format: Annotated[InputFormat | None, typer.Option("--format", help="Instead of the file's ending")] = None,
    name: Annotated[str, typer.Option(help="A name for people")] = "",
    priority: Annotated[int, typer.Option(help="-100 to 100, higher goes first")] = 0,
    repeat: Annotated[int, typer.Option(help="Jobs of each prompt; a seed counts up")] = 1,
    idempotency_key: Annotated[str | None, typer.Option(help="Said again, gives the same batch")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out instead of refusing all")] = False,
    errors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the bad rows there with what is wrong: .csv, .tsv or .jsonl"),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Keep these with the jobs: image,split. id, label and x_... always are"),
    ] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Take the pictures of equal jobs, and draw equal ones once")
    ] = False,
    one_generator: Annotated[
        bool, typer.Option("--one-generator", help="Row i is picture i of one call with one seed, as in diffusers")
    ] = False,
    sweep: Annotated[
        list[str] | None, typer.Option(help="A job of each value: guidance_scale=5,7.5,10; may be said again")
    ] = None,
    alternatives: Annotated[
        bool, typer.Option("--alternatives", help="{red|blue} in prompts makes a job of each")
    ] = False,
    wildcards: Annotated[
        Path | None, typer.Option(help="A folder of lists: __animal__ in prompts is each line of animal.txt")
    ] = None,
    draws: Annotated[int, typer.Option(help="So many prompts drawn of each row, in place of all alternatives")] = 0,
    draw_seed: Annotated[int, typer.Option(help="What these are drawn by")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the jobs that it would make; submit none")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before many jobs")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the last picture")] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Wait, then download into this folder")] = None,
    name_by: NameBy = "",
    is_json: Json = False,
    **settings: Any,
) -> None:
    """Submit prompts as one batch: all of them accepted, or none. Settings are for rows that do not say their own."""
    farm = farm_of(context)
    matrix = MatrixSaid(
        sweep=sweep or [], alternatives=alternatives, wildcards=wildcards, draws=draws, draw_seed=draw_seed
    )
    kept = KeptColumns.of(keep or ())
    read = _reader(file, prompt, input_format, kept)
    bad = BadRowsFile(errors, file if file != STDIN else None) if errors else None
    about_rows: dict[str, Any] = {"keep": kept.named, "skip_bad": skip_bad, "on_bad": bad.add if bad else None}
    about_rows |= {"repeat": repeat, "one_generator": one_generator, "defaults": settings}
    with _bad_rows_written(bad, errors, has_skipped=skip_bad):
        if dry_run:
            plan = farm.plan(read(), **about_rows, **matrix)
            plan = replace(plan, skipped=tuple(map(row_in_flags, plan.skipped)))
            print_json(plan_json(plan)) if is_json else show_plan(plan)
            return
        count_first(read, farm.matrix(**matrix), repeat, is_sure=yes)
        batch = farm.submit(
            read(),
            name=name,
            priority=priority,
            idempotency_key=idempotency_key,
            reuse=reuse,
            source=Path(file).name if file not in (None, STDIN) else "",
            **about_rows,
            **matrix,
        )
    try:
        _say_submitted(batch, is_json=is_json)
        if not is_json:
            out().print(batch.id)
        _warn_of_model(farm, batch)
        done = _wait_for(batch, folder, name_by) if wait or folder else None
    except KeyboardInterrupt:
        say("")
        say(f"sigmafarm: batch {batch.id} goes on without us; `sigmafarm cancel {batch.id}` ends it")
        raise
    if is_json:
        print_json(_submit_json(batch, done))
    if wait or folder:
        raise typer.Exit(exit_code_of(batch.counts))


@contextmanager
def _bad_rows_written(bad: BadRowsFile | None, path: Path | None, *, has_skipped: bool) -> Generator[None]:
    """Write the file of bad rows, whether the others were accepted or not, and say what to do with it."""
    try:
        yield
    finally:
        if bad is not None and (num := bad.write()):
            cure = "mend them there and submit that file" if has_skipped else "with --skip-bad the others are submitted"
            say(f"{num} bad {'row is' if num == 1 else 'rows are'} in {path}: {cure}")


def _reader(
    file: str | None, prompts: list[str] | None, input_format: InputFormat | None, kept: KeptColumns
) -> Callable[[], Iterable[Item]]:
    """Return what reads the rows from their beginning, as often as it is called; stdin can be read once."""
    if file != STDIN:
        return lambda: _items(file, prompts, input_format, kept)
    rows = list(_items(file, prompts, input_format, kept))
    return lambda: rows


def _items(
    file: str | None, prompts: list[str] | None, input_format: InputFormat | None, kept: KeptColumns
) -> Iterable[Item]:
    if file is not None and prompts:
        raise InvalidRequest(
            [FieldError("prompt", "prompts come from a file or from --prompt, not from both: name one")]
        )
    if file is None and not prompts:
        raise InvalidRequest([FieldError("prompt", "there is no prompt: name a file, - for stdin, or --prompt TEXT")])
    return read_rows(file, input_format, kept=kept) if file is not None else prompts or []


def _say_submitted(batch: FarmBatch, *, is_json: bool) -> None:
    for row in batch.skipped[:SHOWN_ROWS]:
        say(f"skipped {row_in_flags(row)}")
    if batch.num_skipped > SHOWN_ROWS:
        say(f"... and {batch.num_skipped - SHOWN_ROWS} more skipped")
    if not is_json:
        what = numbered(batch.counts.total, "job") if batch.is_new else "submitted before with this key"
        say(f"batch {batch.id}: {what}; `sigmafarm status {batch.id} --watch` follows it")


def _warn_of_model(farm: Farm, batch: FarmBatch) -> None:
    """Say what is wrong with the model of a batch's first job, as far as this machine sees it and no worker serves it.

    A model that a living worker could not load is refused; the files here may be others than the workers'."""
    if farm.config.models_file is None:
        return
    model = farm.job(job_id(batch.id, 0)).model
    for seen in farm.seen_models():
        if seen.card.name == model and seen.problems and not seen.resident:
            say(f"warning: {model} cannot be loaded, and its jobs wait until a worker serves it: {seen.problems[0]}")


def _wait_for(batch: FarmBatch, folder: Path | None, name_by: str) -> Download | None:
    counts = batch.wait(progress=True)
    say(f"batch {batch.id}: {counts_text(counts).plain}")
    if num := batch.record.num_reused:
        say(f"{num} of them took the picture of an equal job")
    for job in islice(batch.jobs(state="failed"), SHOWN_FAILURES):
        say(f"{_called(job)} {job.state}: {job.error}")
    return download_all(batch, folder, name_by=name_by) if folder else None


def _called(job: Job) -> str:
    """Return how a job is named to who submitted it: its line, where it has one, as errors of a file do."""
    return f"{job.id} (line {job.request.line})" if job.request.line else job.id


def _submit_json(batch: FarmBatch, done: Download | None) -> dict[str, Any]:
    return {
        "batch": batch_json(batch.record),
        "is_new": batch.is_new,
        "skipped": skipped_json(map(row_in_flags, batch.skipped)),
        "num_skipped": batch.num_skipped,
        "download": download_json(done) if done else None,
    }
