"""`sigmafarm download`: the pictures of a batch, in a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sigmafarm.batch import FarmBatch
from sigmafarm.cli.output import Json, exit_code_of, farm_of, print_json, say
from sigmafarm.download import Download
from sigmafarm.waiting import progress_bar
from sigmafarm_common.wording import numbered

NameBy = Annotated[str, typer.Option(metavar="COLUMN", help="Name the files by a column of the rows' own, such as id")]


def download(
    context: typer.Context,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH")],
    folder: Annotated[Path, typer.Option("--out", help="The folder; made if need be")] = Path("."),
    name_by: NameBy = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Read files again that did not change since, and mend what is damaged")
    ] = False,
    is_json: Json = False,
) -> None:
    """Fetch every picture of a batch that is drawn. Run it again to fetch the rest."""
    batch = farm_of(context).batch(batch_id)
    done = download_all(batch, folder, name_by=name_by, is_deep=verify)
    if is_json:
        print_json(download_json(done))
    raise typer.Exit(exit_code_of(batch.counts))


def download_all(batch: FarmBatch, folder: Path, *, name_by: str = "", is_deep: bool = False) -> Download:
    """Fetch all pictures with a bar on the terminal, and say what was done."""
    with progress_bar() as bar:
        task = bar.add_task("download", total=batch.counts.total, note="")
        done = batch.download(folder, name_by=name_by, verify=is_deep, on_job=lambda _: bar.advance(task))
    there = f", {done.num_present} {'was' if done.num_present == 1 else 'were'} there" if done.num_present else ""
    without = f", {_jobs_have(done.num_without)} none" if done.num_without else ""
    say(f"{numbered(done.num_fetched, 'picture')} fetched{there}{without}: {done.folder}")
    if done.num_doubled:
        say(f"{_jobs_have(done.num_doubled)} the same {name_by} as an earlier one: -2, -3 and so on stand behind it")
    if done.num_unnamed:
        say(f"{_jobs_have(done.num_unnamed)} no {name_by}: the row is the name")
    return done


def _jobs_have(num: int) -> str:
    return f"{numbered(num, 'job')} {'has' if num == 1 else 'have'}"


def download_json(done: Download) -> dict[str, Any]:
    """Return what a download did, as --json shows it."""
    return {**asdict(done), "folder": str(done.folder)}
