"""What stands in the farm's code for all that does not come from the seed, and for what costs and decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING
from unittest import mock

import structlog

from sigmafarm import row_writer
from sigmafarm_common import concluder
from sigmafarm_common.store.ids import ALPHABET, CHANCE_CHARS, TIME_CHARS
from sigmafarm_common.uploads import storing
from sigmafarm_worker.service import outlet, patience, render
from tests.simulation.farm import InlineExecutor
from tests.simulation.fronts import in_virtual_loops
from tests.simulation.seams import encoder
from tests.store_model import store_model

if TYPE_CHECKING:
    from tests.simulation.world import World


#: Rows that are written at once, so that submits take several calls.
CHUNK_ROWS = 4


@contextmanager
def in_virtual_hands(world: World) -> Iterator[None]:
    """Take out of the farm's code what does not come from the seed, and what costs without deciding anything."""
    numbers = count(1)

    def new_batch_id() -> str:
        number, chars = next(numbers), ""
        for _ in range(TIME_CHARS + CHANCE_CHARS):
            number, digit = divmod(number, len(ALPHABET))
            chars = ALPHABET[digit] + chars
        return chars

    def drop(*_said: object) -> None:
        raise structlog.DropEvent

    def jittered(pause_s: float) -> float:
        return pause_s * world.scheduler.chance.uniform(0.5, 1.0)

    with ExitStack() as stack:
        for target, name, stand_in in (
            (store_model, "new_batch_id", new_batch_id),
            (store_model, "new_token", lambda: f"{next(numbers):08x}"),
            (storing, "new_token", lambda: f"{next(numbers):08x}"),
            (render, "encode", encoder(world)),
            (patience, "jittered", jittered),
            (outlet, "jittered", jittered),
            (concluder, "ThreadPoolExecutor", InlineExecutor),
            (row_writer, "ThreadPoolExecutor", InlineExecutor),
            (row_writer, "CHUNK_ROWS", CHUNK_ROWS),
        ):
            stack.enter_context(mock.patch.object(target, name, stand_in))
        stack.enter_context(in_virtual_loops(world.clients))
        if world.twin:
            stack.enter_context(world.twin.same_ids())
        before = structlog.get_config()
        structlog.configure(
            processors=[drop], wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False
        )
        stack.callback(lambda: structlog.configure(**before))
        yield
