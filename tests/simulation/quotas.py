"""What those who submit may have open: never more than that, no less, and all of it again in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmafarm.submission import Quota
from sigmafarm_common.errors import QuotaExceeded
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.store import refusals
from tests.simulation.faults import Mix

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Bytes that the request of a job takes, at most.
ROW_BYTES = 500


def quota_of(mix: Mix) -> Quota:
    """Return what the owner of all submits may have open. The bytes are those of so many of the largest requests, and
    count until all of a batch has ended: now they bind, now the number."""
    return Quota(jobs=round(mix.quota), bytes=ROW_BYTES * round(mix.quota))


def check_end(world: World, owner: str) -> None:
    """See that nothing that has ended counts any more. Raises AssertionError."""
    num_open = world.ask("open_jobs", owner)
    assert num_open == 0, f"{num_open} jobs of {owner} count as open, and all have ended"
    ticket = world.ask("begin_batch", name="", owner=owner, priority=0, defaults={})
    request = RenderRequest(prompt="a boat", model="sim", seed=0, num_inference_steps=1, height=64, width=64)
    told = ""
    try:
        world.ask("add_rows", ticket.batch_id, [request], max_open_bytes=1)
    except QuotaExceeded as error:
        told = str(error)
    world.ask("discard_batch", ticket.batch_id)
    assert told == str(refusals.too_many_bytes(owner, 0, 1)), f"bytes count as open, and all jobs have ended: {told}"
