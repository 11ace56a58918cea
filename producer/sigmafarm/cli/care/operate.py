"""The commands for operators: check, whether the farm's promises hold; sweep, what lies about; doctor, what it stands
on. Each has --json."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from sigmafarm.cli.output import Json, Rows, config_of, out, print_json, say, show
from sigmafarm.console import line
from sigmafarm.waiting import progress_bar
from sigmafarm_common.config import Config
from sigmafarm_common.model_folder import find_bundled_folder
from sigmafarm_common.objects import ObjectInfo, ObjectStore, open_objects
from sigmafarm_common.wording import numbered

if TYPE_CHECKING:
    from sigmafarm_common.check import Violation
    from sigmafarm_common.farm_sweep import Leftovers
    from sigmafarm_common.store.redis_store import RedisStore

#: Violations and leftovers that are spelled out; the rest is counted.
SHOWN_LINES = 200
#: The colour of each grade of the doctor.
GRADE_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def check(
    context: typer.Context,
    final: Annotated[bool, typer.Option("--final", help="The farm came to its end: no job may be open")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every picture and compare its SHA-256")] = False,
    is_json: Json = False,
) -> None:
    """Verify that nothing is lost, doubled or at odds, in the records and the object store; exit 1 if anything is.

    It only reads. What looks wrong is looked at again two seconds later: on a living farm things move."""
    from sigmafarm_common.check import check_farm  # brings redis, which takes a tenth of a second: only when asked

    config, store, objects = _parts(context)
    with _bar("batches") as on_batch:
        report = check_farm(config, store, objects, is_final=final, is_deep=deep, on_batch=on_batch)
    if is_json:
        numbers = {"num_batches": report.num_batches, "num_jobs": report.num_jobs, "num_pictures": report.num_pictures}
        print_json({"violations": [_violation_json(v) for v in report.violations], **numbers})
    else:
        for violation in report.violations[:SHOWN_LINES]:
            out().print(Text.assemble((f"{violation.invariant} ", "bold red"), line(violation.message)), soft_wrap=True)
        if len(report.violations) > SHOWN_LINES:
            say(f"... and {len(report.violations) - SHOWN_LINES} more; --json lists all")
        batches = numbered(report.num_batches, "batch", "batches")
        looked = f"{batches}, {numbered(report.num_jobs, 'job')}, {numbered(report.num_pictures, 'picture')}"
        say(f"{looked}: {numbered(found, 'violation') if (found := len(report.violations)) else 'no violations'}")
    raise typer.Exit(0 if report.is_clean else 1)


def sweep(
    context: typer.Context,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is found; else it is only told")] = False,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Leave alone what is younger; unless said, an hour")
    ] = None,
    is_json: Json = False,
) -> None:
    """Find objects that no record names, half-written files of killed processes and entries whose job is elsewhere;
    remove them with --delete."""
    from sigmafarm_common.check.strays import OLDER_THAN_S
    from sigmafarm_common.farm_sweep import find_leftovers, remove_leftovers

    _, store, objects = _parts(context)
    older_than_s = OLDER_THAN_S if older_than is None else older_than
    with _bar("batches") as on_batch:
        found = find_leftovers(store, objects, older_than_s=older_than_s, on_batch=on_batch)
    removed = list(remove_leftovers(store, objects, found, older_than_s=older_than_s)) if delete else []
    if is_json:
        print_json({**_leftovers_json(found), "is_dry_run": not delete, "num_removed": len(removed)})
        return
    rows = [("object", o.key, str(o.size_bytes)) for o in found.objects]
    rows += [("half-written file", o.key, str(o.size_bytes)) for o in found.partials]
    rows += [("entry", " ".join(filter(None, (e.place, e.name, e.job_id))), "") for e in found.entries]
    if rows:
        show(Rows(["kind", "name", ">bytes"], rows[:SHOWN_LINES]))
    if len(rows) > SHOWN_LINES:
        say(f"... and {len(rows) - SHOWN_LINES} more; --json lists all")
    if found.num_without_batch and not delete:
        say(
            f"{found.num_without_batch} of them are of batches that were accepted once and have no records, as after a "
            "restored backup: `sigmafarm adopt` makes them anew"
        )
    if delete:
        say(f"{len(removed)} removed")
    else:
        say(f"{len(rows)} found{'; --delete removes them' if rows else ''}")


def doctor(context: typer.Context, is_json: Json = False) -> None:
    """Look at what the farm stands on, with the cure for what is not as it should be; exit 1 if anything fails."""
    from sigmafarm_common.doctor.examination import examine
    from sigmafarm_common.store.redis_store import RedisStore

    config = config_of(context)
    findings = examine(
        config,
        lambda: RedisStore(config),
        lambda: open_objects(config),
        bundled=find_bundled_folder(),
    )
    lines: list[dict[str, str]] = []
    for finding in findings:
        lines.append({"grade": finding.grade, "subject": finding.subject, "message": finding.message})
        if not is_json:
            grade = Text(f"{finding.grade:<5}", GRADE_STYLES[finding.grade])
            out().print(
                Text.assemble(grade, line(f"{finding.subject}: ", "bold"), line(finding.message)), soft_wrap=True
            )
    if is_json:
        print_json({"findings": lines})
    raise typer.Exit(1 if any(line["grade"] == "fail" for line in lines) else 0)


def _parts(context: typer.Context) -> tuple[Config, RedisStore, ObjectStore]:
    from sigmafarm_common.store.redis_store import RedisStore

    config = config_of(context)
    return config, RedisStore(config), open_objects(config)


@contextmanager
def _bar(what: str) -> Generator[Callable[[int, int], None]]:
    """Show how far a long look is, on a terminal."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _violation_json(violation: Violation) -> dict[str, str]:
    return {name: getattr(violation, name) for name in ("invariant", "rule", "subject", "message")}


def _leftovers_json(found: Leftovers) -> dict[str, Any]:
    return {
        "objects": [_object_json(o) for o in found.objects],
        "partials": [_object_json(o) for o in found.partials],
        "entries": [{"place": e.place, "name": e.name, "job": e.job_id} for e in found.entries],
    }


def _object_json(found: ObjectInfo) -> dict[str, Any]:
    return {"key": found.key, "size_bytes": found.size_bytes, "modified_ms": found.modified_ms}
