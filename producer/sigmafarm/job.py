"""A job in the hand: its record as it was when it was asked for, and its picture."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Self

from pydantic import PrivateAttr

from sigmafarm.as_drawn import image_of
from sigmafarm.connections import Connections
from sigmafarm.notebooks import job_html
from sigmafarm_common.errors import NotFound, SigmafarmError
from sigmafarm_common.records import Job
from sigmafarm_common.visible import visible

if TYPE_CHECKING:
    from PIL.Image import Image


class HeldJob(Job):
    """A job's record that knows its farm: what FarmJob and AsyncFarmJob share."""

    _connections: Connections | None = PrivateAttr(None)

    @classmethod
    def made_of(cls, job: Job, connections: Connections) -> Self:
        """Return a record as a job in the hand."""
        made = cls.model_construct(job.model_fields_set, **job.__dict__)
        made._connections = connections
        return made

    def _fetch_image(self) -> Image:
        if not self.image_key or self._connections is None:
            why = f": {self.error}" if self.error else ""
            raise NotFound(f"job {self.id} has no picture: it is {self.state}{why}")
        return image_of(self._connections.objects, self)

    def _rate(self, rating: int) -> None:
        if self._connections is None:
            raise NotFound(f"job {self.id} knows of no farm: rate what farm.job(id) returns")
        self._connections.store.rate_job(self.id, rating)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: picture, state, settings. Says why where that cannot be asked for."""
        try:
            assert self._connections is not None
            return job_html(self, self._connections.objects, self._connections.page(f"/jobs/{self.id}"))
        except SigmafarmError as error:
            return escape(visible(f"job {self.id}: {error}"))

    def __eq__(self, other: object) -> bool:
        """Two are equal if their records are."""
        return isinstance(other, Job) and self.__dict__ == other.__dict__

    __hash__ = Job.__hash__


class FarmJob(HeldJob):
    """A job: its record as it was when it was asked for, and its picture. Ask `farm.job(job.id)` for how it is now."""

    def rate(self, rating: int) -> None:
        """Rate the picture from 1 to 5; 0 takes a rating back. The batch's manifest tells of it.

        Raises InvalidRequest for another rating, Conflict for a job that has no picture, NotFound, StoreUnavailable.
        """
        self._rate(rating)

    def image(self) -> Image:
        """Fetch the picture (of Pillow), whole.

        Raises NotFound for a job that has none, with its state; StorageUnavailable where the stored file is not the one
        that was drawn; AccessDenied.
        """
        return self._fetch_image()
