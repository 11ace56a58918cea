"""Pictures that jobs draw from: sent with a submit, kept while a batch names them, removed when nobody has for long."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from sigmafarm_common.settings import uploads_of
from sigmafarm_common.uploads.storing import PREFIX
from tests.simulation.seams import sha256
from tests.simulation.store import SimulatedStore, Violation

if TYPE_CHECKING:
    from random import Random

#: How many different ones there are, each of so many pixels a side.
NUM_PICTURES, SIDE = 4, 64


@cache
def picture(number: int) -> bytes:
    """Return a file, as a person sends it."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (60 * number, 100, 200)).save(file, "PNG")
    return file.getvalue()


def with_picture(row: dict[str, Any], chance: Random) -> dict[str, Any]:
    """Return a row that begins with one of the pictures."""
    return {**row, "init_image": picture(chance.randrange(NUM_PICTURES)), "strength": 1.0}


def check_removal(store: SimulatedStore, key: str) -> None:
    """Look at an object that is removed: no job that may still be drawn begins with it."""
    for batch in store.all_batches():
        for upload in store.uploads_named(batch, {name for job in batch.jobs for name in uploads_of(job.request)}):
            if upload.key == key:
                raise Violation(f"the picture {key} is removed, and batch {batch.id} draws from it")


def check_end(store: SimulatedStore, objects: dict[str, bytes]) -> None:
    """Look at what is left: each record has its object, whole, and nothing is still to be removed."""
    for upload in store.all_uploads():
        data = objects.get(upload.key)
        if data is None or sha256(data) != upload.sha256:
            raise Violation(f"the record of picture {upload.sha256[:8]} names {upload.key}, which is not there so")
    if left := store.deletions():
        raise Violation(f"pictures that nobody uses are not removed: {left[:3]}")


def is_upload(key: str) -> bool:
    return key.startswith(PREFIX)
