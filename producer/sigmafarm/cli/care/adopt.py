"""The command for after a restored backup: adopt, which makes the records of pictures anew. It has --json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigmafarm.cli.output import Json, Rows, config_of, print_json, say, show
from sigmafarm_common.objects import open_objects

if TYPE_CHECKING:
    from sigmafarm_common.adoption import Adoptable


def adopt(
    context: typer.Context,
    batches: Annotated[
        list[str] | None, typer.Argument(metavar="[BATCH]...", help="Only these; else all that are not old")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Make the records; else it is only told")] = False,
    is_json: Json = False,
) -> None:
    """Make the records of batches anew that were lost while their pictures were not, as by a restored backup.

    Settings and ends are taken from each manifest and from the pictures' own text; they become batches of --owner. A
    batch whose records may have been forgotten in order is adopted only by its name."""
    from sigmafarm_common import adoption  # brings redis and Pillow: only when asked
    from sigmafarm_common.store.redis_store import RedisStore

    config = config_of(context)
    store, objects = RedisStore(config), open_objects(config)
    found = adoption.find_adoptable(config, store, objects)
    chosen = [f.batch_id for f in found if not f.is_old] if not batches else list(dict.fromkeys(batches))
    for batch_id in chosen if yes else ():
        adoption.adopt(store, objects, batch_id, owner=config.owner)
    if is_json:
        print_json(
            {"batches": [_json(f, chosen) for f in found], "is_dry_run": not yes, "num_adopted": len(chosen) * yes}
        )
        return
    if found:
        rows = [(f.batch_id, str(f.num_rows), str(f.num_pictures), _said(f), _yes(f.batch_id in chosen)) for f in found]
        show(Rows(["batch", ">rows", ">pictures", "told by", "adopted" if yes else "to adopt"], rows))
    say(f"{len(chosen)} adopted" if yes else f"{len(chosen)} to adopt{'; --yes does it' if chosen else ''}")


def _said(found: Adoptable) -> str:
    by = "its manifest" if found.has_manifest else "its pictures alone: later rows may be missing"
    return f"{by}; older than records are kept: name it" if found.is_old else by


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _json(found: Adoptable, chosen: list[str]) -> dict[str, Any]:
    return {
        "id": found.batch_id,
        "num_rows": found.num_rows,
        "num_pictures": found.num_pictures,
        "has_manifest": found.has_manifest,
        "is_old": found.is_old,
        "is_chosen": found.batch_id in chosen,
    }
