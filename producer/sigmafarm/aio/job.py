"""A job in the hand of a program with an event loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import PrivateAttr

from sigmafarm.aio.documented import says_as
from sigmafarm.async_calls import Calls
from sigmafarm.connections import Connections
from sigmafarm.job import FarmJob, HeldJob
from sigmafarm_common.records import Job

if TYPE_CHECKING:
    from PIL.Image import Image


class AsyncFarmJob(HeldJob):
    """A job: its record as it was when it was asked for, and its picture. Ask `await farm.job(job.id)` for how it is
    now."""

    _calls: Calls = PrivateAttr(default_factory=Calls)

    @classmethod
    def held(cls, job: Job, connections: Connections, calls: Calls) -> Self:
        """Return a record as a job in the hand."""
        made = cls.made_of(job, connections)
        made._calls = calls
        return made

    @says_as(FarmJob.rate)
    async def rate(self, rating: int) -> None:
        """As FarmJob.rate."""
        await self._calls.run(partial(self._rate, rating))

    @says_as(FarmJob.image)
    async def image(self) -> Image:
        """As FarmJob.image, in a thread."""
        return await self._calls.run(self._fetch_image)
