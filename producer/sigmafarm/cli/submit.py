"""`sigmafarm submit` and `sigmafarm download`: prompts in, pictures out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from sigmafarm.batch import FarmBatch
from sigmafarm.cli.output import Json, counts_text, exit_code_of, farm_of, out, print_json, say
from sigmafarm.cli.setting_flags import with_setting_flags
from sigmafarm.download import Download
from sigmafarm.inputs import InputFormat, read_rows
from sigmafarm.shapes import batch_json, skipped_json
from sigmafarm.submission import Item
from sigmafarm.waiting import progress_bar
from sigmafarm_common.errors import FieldError, InvalidRequest

#: Bad rows that are spelled out when they are skipped.
SHOWN_ROWS = 20
#: Failed jobs whose errors are said at the end of a wait.
SHOWN_FAILURES = 5


@with_setting_flags
def submit(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(help="Prompts: lines of text, .jsonl or .csv; - for stdin")] = None,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="A prompt; may be said again")] = None,
    input_format: Annotated[InputFormat | None, typer.Option("--format", help="Instead of the file's ending")] = None,
    name: Annotated[str, typer.Option(help="A name for people")] = "",
    priority: Annotated[int, typer.Option(help="-100 to 100, higher goes first")] = 0,
    repeat: Annotated[int, typer.Option(help="Jobs of each prompt; a seed counts up")] = 1,
    idempotency_key: Annotated[str | None, typer.Option(help="Said again, gives the same batch")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out instead of refusing all")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the last picture")] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Wait, then download into this folder")] = None,
    is_json: Json = False,
    **settings: Any,
) -> None:
    """Submit prompts as one batch: all of them accepted, or none. Settings are for rows that do not say their own."""
    batch = farm_of(context).submit(
        _items(file, prompt, input_format),
        name=name,
        priority=priority,
        defaults=settings,
        idempotency_key=idempotency_key,
        repeat=repeat,
        skip_bad=skip_bad,
    )
    try:
        _say_submitted(batch, is_json=is_json)
        done = _wait_for(batch, folder) if wait or folder else None
    except KeyboardInterrupt:
        say("")
        say(f"sigmafarm: batch {batch.id} goes on without us; `sigmafarm cancel {batch.id}` ends it")
        raise
    if is_json:
        print_json(_submit_json(batch, done))
    elif not (wait or folder):
        out().print(batch.id)
    if wait or folder:
        raise typer.Exit(exit_code_of(batch.counts))


def download(
    context: typer.Context,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH")],
    folder: Annotated[Path, typer.Option("--out", help="The folder; made if need be")] = Path("."),
    is_json: Json = False,
) -> None:
    """Fetch every picture of a batch that is drawn. Run it again to fetch the rest."""
    batch = farm_of(context).batch(batch_id)
    done = _download_all(batch, folder)
    if is_json:
        print_json(_download_json(done))
    raise typer.Exit(exit_code_of(batch.counts))


def _items(file: str | None, prompts: list[str] | None, input_format: InputFormat | None) -> Iterable[Item]:
    if file is not None and prompts:
        raise InvalidRequest(
            [FieldError("prompt", "prompts come from a file or from --prompt, not from both: name one")]
        )
    if file is None and not prompts:
        raise InvalidRequest([FieldError("prompt", "there is no prompt: name a file, - for stdin, or --prompt TEXT")])
    return read_rows(file, input_format) if file is not None else prompts or []


def _say_submitted(batch: FarmBatch, *, is_json: bool) -> None:
    for row in batch.skipped[:SHOWN_ROWS]:
        say(f"skipped {row}")
    if batch.num_skipped > SHOWN_ROWS:
        say(f"... and {batch.num_skipped - SHOWN_ROWS} more rows skipped")
    if not is_json:
        what = f"{batch.counts.total} jobs" if batch.is_new else "submitted before with this key"
        say(f"batch {batch.id}: {what}; `sigmafarm status {batch.id} --watch` follows it")


def _wait_for(batch: FarmBatch, folder: Path | None) -> Download | None:
    counts = batch.wait(progress=True)
    say(f"batch {batch.id}: {counts_text(counts).plain}")
    for job in islice(batch.jobs(state="failed"), SHOWN_FAILURES):
        say(f"row {job.row} {job.state}: {job.error}")
    return _download_all(batch, folder) if folder else None


def _download_all(batch: FarmBatch, folder: Path) -> Download:
    with progress_bar() as bar:
        task = bar.add_task("download", total=batch.counts.total, note="")
        done = batch.download(folder, on_job=lambda _: bar.advance(task))
    there = f", {done.num_present} were there" if done.num_present else ""
    without = f", {done.num_without} jobs have none" if done.num_without else ""
    say(f"{done.num_fetched} pictures fetched{there}{without}: {done.folder}")
    return done


def _submit_json(batch: FarmBatch, done: Download | None) -> dict[str, Any]:
    return {
        "batch": batch_json(batch.record),
        "is_new": batch.is_new,
        "skipped": skipped_json(batch.skipped),
        "num_skipped": batch.num_skipped,
        "download": _download_json(done) if done else None,
    }


def _download_json(done: Download) -> dict[str, Any]:
    return {**asdict(done), "folder": str(done.folder)}
