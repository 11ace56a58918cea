"""`sigmafarm drain` and `undrain`: whether a worker takes jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmafarm.cli.output import Json, farm_of, print_json, say

Worker = Annotated[str, typer.Argument(metavar="WORKER", help="Its id, as `sigmafarm workers` lists it")]


def drain(context: typer.Context, worker_id: Worker, is_json: Json = False) -> None:
    """Let a worker finish what it has and take no more."""
    _drain(context, worker_id, is_draining=True, is_json=is_json)


def undrain(context: typer.Context, worker_id: Worker, is_json: Json = False) -> None:
    """Let a drained worker take jobs again."""
    _drain(context, worker_id, is_draining=False, is_json=is_json)


def _drain(context: typer.Context, worker_id: str, *, is_draining: bool, is_json: bool) -> None:
    farm = farm_of(context)
    farm.store.drain_worker(worker_id, is_draining=is_draining)
    if is_json:
        print_json({"worker": worker_id, "is_draining": is_draining})
    else:
        say(f"worker {worker_id} {'finishes what it has and takes no more' if is_draining else 'takes jobs again'}")
