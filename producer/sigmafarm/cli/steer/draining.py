"""`sigmafarm drain` and `undrain`: whether workers take jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from sigmafarm.cli.output import Json, farm_of, print_json, say
from sigmafarm_common.records import WorkerInfo

Workers = Annotated[
    list[str], typer.Argument(metavar="WORKER | HOST...", help="Ids or machines, as `sigmafarm workers` lists them")
]


def drain(context: typer.Context, workers: Workers, is_json: Json = False) -> None:
    """Let workers finish what they have and take no more: one by its id, or all of a machine."""
    _drain(context, workers, is_draining=True, is_json=is_json)


def undrain(context: typer.Context, workers: Workers, is_json: Json = False) -> None:
    """Let drained workers take jobs again."""
    _drain(context, workers, is_draining=False, is_json=is_json)


def _drain(context: typer.Context, said: Sequence[str], *, is_draining: bool, is_json: bool) -> None:
    store = farm_of(context).store
    living = store.workers()
    chosen = list(dict.fromkeys(each for word in said for each in _meant(word, living)))
    for worker_id in chosen:
        store.drain_worker(worker_id, is_draining=is_draining)
    if is_json:
        print_json({"worker": chosen[0], "workers": chosen, "is_draining": is_draining})
        return
    for worker_id in chosen:
        say(f"worker {worker_id} {'finishes what it has and takes no more' if is_draining else 'takes jobs again'}")


def _meant(word: str, living: Sequence[WorkerInfo]) -> Iterator[str]:
    """Yield the ids that a word stands for: a worker's own, or of all workers of a machine."""
    at_host = [worker.id for worker in living if worker.host == word]
    if any(worker.id == word for worker in living) or not at_host:
        yield word
    else:
        yield from at_host
