"""How many jobs a matrix makes, said before any is sent; and a dry run, which shows them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import typer

from sigmafarm.cli.output import Rows, say, show
from sigmafarm.items import Item
from sigmafarm.matrices import Matrix
from sigmafarm.submission import Plan
from sigmafarm_common.wording import numbered

#: So many jobs that were made of fewer rows are asked about, where somebody sits at a terminal.
ASKED_JOBS = 1000
#: Jobs that a dry run shows to people.
SHOWN_JOBS = 20


def count_first(read: Callable[[], Iterable[Item]], matrix: Matrix, repeat: int, *, is_sure: bool) -> None:
    """Say how many jobs rows will make where a matrix multiplies them, and ask before many. Raises typer.Abort for a
    no."""
    if matrix.is_plain:
        return
    counted = matrix.count(read())
    if counted.bad is not None:  # submitting tells all that is wrong
        return
    num = counted.num * max(repeat, 1)
    say(f"{numbered(num, 'job')} of {numbered(counted.num_written, 'row')}")
    is_large = num >= ASKED_JOBS and num > counted.num_written
    if is_large and not is_sure and has_terminal():
        typer.confirm(f"Submit {num:,} jobs?", abort=True, err=True)


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def show_plan(plan: Plan) -> None:
    """Print a dry run for people."""
    shown = plan.first[:SHOWN_JOBS]
    lines = [(str(row), request.prompt, _labels(request.labels)) for row, request in enumerate(shown)]
    show(Rows((">Row", "Prompt", "Chosen"), lines))
    if plan.num_jobs > len(shown):
        say(f"... and {plan.num_jobs - len(shown)} more")
    for row in plan.skipped[:SHOWN_JOBS]:
        say(f"skipped {row}")
    say(f"{numbered(plan.num_jobs, 'job')}; nothing was submitted")


def _labels(labels: dict[str, str] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in (labels or {}).items())
