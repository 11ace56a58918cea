"""`sigmafarm report`: what became of a batch, as text, as JSON or as one page of HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from sigmafarm.cli.output import Json, Rows, counts_text, farm_of, out, print_json, say, show, time_text
from sigmafarm.console import line
from sigmafarm.reports.page import seconds
from sigmafarm.reports.report import Failure, Report, Spread, Used
from sigmafarm_common.errors import UnreadableInput


def report(
    context: typer.Context,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH")],
    page: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as one page of HTML")] = None,
    is_json: Json = False,
) -> None:
    """Report what became of a batch: counts, failures by reason with their rows, times, the settings in use."""
    made = farm_of(context).batch(batch_id).report()
    if page is not None:
        try:
            page.write_text(made.html(), encoding="utf-8")
        except OSError as error:
            raise UnreadableInput(f"{page} cannot be written: {error.strerror}; check the path") from None
    if is_json:
        print_json(made.to_json())
    elif page is None:
        _print(made)
    if page is not None:
        say(f"the report is in {page}")


def _print(made: Report) -> None:
    batch = made.batch
    ended = f"finished {time_text(batch.finished_ms)}, {seconds(made.took_s)}" if batch.finished_ms else "not finished"
    out().print(line(f"batch {batch.id} {batch.title}", "bold"), soft_wrap=True)
    out().print(counts_text(batch.counts), line(f"of {batch.counts.total}"))
    out().print(line(f"submitted {time_text(batch.created_ms)}, {ended}"), soft_wrap=True)
    if made.failures:
        _title("Failures")
        show(Rows(["reason", ">jobs", "which", "what the first one said"], map(_failure_row, made.failures)))
    if batch.warnings:
        _title("Warnings")
        show(Rows(["warning", ">jobs"], [(code, str(num)) for code, num in batch.warnings.items()]))
    if made.wait.num:
        spans = {"wait": made.wait, "draw": made.draw, "upload": made.upload}
        _title("Times")
        show(Rows(["time", ">median", ">90 %", ">longest"], [_span_row(name, each) for name, each in spans.items()]))
    for title, used in (("Settings in use", made.settings), ("Columns of the rows", made.columns)):
        if used:
            _title(title)
            show(Rows(["name", ">values", "most frequent"], list(_used_rows(used))))
    if made.workers:
        _title("Workers")
        show(Rows(["worker", ">pictures"], [(name, str(num)) for name, num in made.workers.items()]))


def _title(text: str) -> None:
    out().print(line(f"\n{text}", "bold", keep="\n"))


def _failure_row(failure: Failure) -> tuple[str, str, str, str]:
    return failure.code, str(failure.num), failure.which, failure.error


def _span_row(name: str, spread: Spread) -> tuple[str, str, str, str]:
    return name, seconds(spread.median_s), seconds(spread.p90_s), seconds(spread.max_s)


def _used_rows(used: Mapping[str, Used]) -> Iterator[tuple[str, str, str]]:
    for name, values in used.items():
        most = ", ".join(text if values.num_values == 1 else f"{text} x{num}" for text, num in values.most)
        more = ", ..." if values.num_values > len(values.most) else ""
        yield name, f"{values.num_values}{'' if values.is_complete else '+'}", most + more
