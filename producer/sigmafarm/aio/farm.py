"""The farm as a program with an event loop sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, Unpack

from sigmafarm.aio.batch import AsyncFarmBatch
from sigmafarm.aio.documented import says_as
from sigmafarm.aio.job import AsyncFarmJob
from sigmafarm.async_calls import Calls, checked
from sigmafarm.batch import FarmBatch
from sigmafarm.farm import Farm
from sigmafarm.kept_columns import KeptColumns
from sigmafarm.matrices import Matrix, MatrixSaid
from sigmafarm.prompts import Prompts, name_of, rows_of
from sigmafarm.submission import OnBadRow, Plan, Quota
from sigmafarm_common.clock import Clock
from sigmafarm_common.config import Config
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Batch, ModelCard, WorkerInfo
from sigmafarm_common.residents import SeenModel
from sigmafarm_common.settings import Settings
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import QueueInfo
from sigmafarm_common.tracing import Tracing

if TYPE_CHECKING:
    from PIL.Image import Image

#: Calls that are under way at the same time; others wait for their turn.
NUM_THREADS = 8


class AsyncFarm:
    """A farm, for asyncio: the names of Farm, to be awaited.

    async with AsyncFarm.from_env() as farm:
        batch = await farm.submit(["a lighthouse at dawn"])
        async for job, image in batch.images():
            image.save(f"{job.row}.png")

    Each call runs Farm's own code in one of `num_threads` threads; further calls wait for one. Nothing holds a thread
    while it waits for jobs, so any number of batches can be awaited. A cancelled await leaves nothing behind, and the
    jobs go on; it ends when the question that is under way is answered, within redis_timeout_s. A cancelled submit
    leaves no batch, unless that was accepted in the same moment: with an idempotency_key it can be said again. May be
    used in one event loop after another. Not for trio. To send a farm to another process, use Farm.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        store: Store | None = None,
        objects: ObjectStore | None = None,
        clock: Clock | None = None,
        can_read_files: bool = True,
        tracing: Tracing | None = None,
        num_threads: int = NUM_THREADS,
    ):
        """All but `num_threads` as for Farm."""
        self._farm = Farm(
            config, store=store, objects=objects, clock=clock, can_read_files=can_read_files, tracing=tracing
        )
        self._connections = self._farm._connections  # pyright: ignore[reportPrivateUsage] - this is its other face
        self._calls = Calls(num_threads)
        self.config = self._farm.config

    @classmethod
    def from_env(cls, **flags: Any) -> Self:
        """Return the farm that the settings name; flags win over the environment. Raises InvalidSettings."""
        return cls(Config.load(**flags))

    def __repr__(self) -> str:
        return f"Async{self._farm!r}"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: workers, pace, newest batches. Notebooks ask without an await: this waits."""
        return self._farm._repr_html_()  # pyright: ignore[reportPrivateUsage] - the name is IPython's

    @says_as(Farm.submit)
    async def submit(
        self,
        prompts: Prompts,
        *,
        name: str = "",
        priority: int = 0,
        defaults: Mapping[str, Any] | Settings | None = None,
        init_image: str | PathLike[str] | bytes | Image | None = None,
        mask_image: str | PathLike[str] | bytes | Image | None = None,
        seed: int | None = None,
        one_generator: bool = False,
        idempotency_key: str | None = None,
        repeat: int = 1,
        skip_bad: bool = False,
        on_bad: OnBadRow | None = None,
        keep: str | Iterable[str] = (),
        reuse: bool = False,
        owner: str | None = None,
        patience_s: float | None = None,
        quota: Quota | None = None,
        source: str = "",
        parent: str = "",
        **matrix: Unpack[MatrixSaid],
    ) -> AsyncFarmBatch:
        """As Farm.submit. Rows are read in a thread; `on_bad` is called there. Cancelled between two rows, it leaves no
        batch."""

        def submit(check: Callable[[], None]) -> FarmBatch:
            return self._farm.submit(
                checked(rows_of(prompts, KeptColumns.of(keep)), check),
                name=name,
                priority=priority,
                defaults=defaults,
                init_image=init_image,
                mask_image=mask_image,
                seed=seed,
                one_generator=one_generator,
                idempotency_key=idempotency_key,
                repeat=repeat,
                skip_bad=skip_bad,
                on_bad=on_bad,
                keep=keep,
                reuse=reuse,
                owner=owner,
                patience_s=patience_s,
                quota=quota,
                source=source or name_of(prompts),
                parent=parent,
                **matrix,
            )

        return self._held(await self._calls.run_checked(submit))

    @says_as(Farm.upload)
    async def upload(self, picture: str | PathLike[str] | bytes | Image, *, owner: str | None = None) -> str:
        """As Farm.upload."""
        return await self._calls.run(partial(self._farm.upload, picture, owner=owner))

    @says_as(Farm.plan)
    async def plan(
        self,
        prompts: Prompts,
        *,
        defaults: Mapping[str, Any] | Settings | None = None,
        repeat: int = 1,
        skip_bad: bool = False,
        on_bad: OnBadRow | None = None,
        keep: str | Iterable[str] = (),
        one_generator: bool = False,
        owner: str | None = None,
        num_first: int = 100,
        **matrix: Unpack[MatrixSaid],
    ) -> Plan:
        """As Farm.plan."""

        def plan(check: Callable[[], None]) -> Plan:
            return self._farm.plan(
                checked(rows_of(prompts, KeptColumns.of(keep)), check),
                defaults=defaults,
                repeat=repeat,
                skip_bad=skip_bad,
                on_bad=on_bad,
                keep=keep,
                one_generator=one_generator,
                owner=owner,
                num_first=num_first,
                **matrix,
            )

        return await self._calls.run_checked(plan)

    @says_as(Farm.matrix)
    async def matrix(self, **said: Unpack[MatrixSaid]) -> Matrix:
        """As Farm.matrix."""
        return await self._calls.run(lambda: self._farm.matrix(**said))

    @says_as(Farm.batch)
    async def batch(self, batch_id: str) -> AsyncFarmBatch:
        """As Farm.batch."""
        return self._held(await self._calls.run(partial(self._farm.batch, batch_id)))

    @says_as(Farm.batches)
    async def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        """As Farm.batches."""
        return await self._calls.run(partial(self._farm.batches, owner=owner, limit=limit, before=before))

    @says_as(Farm.job)
    async def job(self, job_id: str) -> AsyncFarmJob:
        """As Farm.job; the picture is `await job.image()`."""
        job = await self._calls.run(partial(self._farm.job, job_id))
        return AsyncFarmJob.held(job, self._connections, self._calls)

    @says_as(Farm.workers)
    async def workers(self) -> list[WorkerInfo]:
        """As Farm.workers."""
        return await self._calls.run(self._farm.workers)

    @says_as(Farm.models)
    async def models(self) -> list[ModelCard]:
        """As Farm.models."""
        return await self._calls.run(self._farm.models)

    @says_as(Farm.seen_models)
    async def seen_models(self) -> list[SeenModel]:
        """As Farm.seen_models."""
        return await self._calls.run(self._farm.seen_models)

    @says_as(Farm.queues)
    async def queues(self) -> list[QueueInfo]:
        """As Farm.queues."""
        return await self._calls.run(self._farm.queues)

    @says_as(Farm.close)
    async def close(self) -> None:
        """As Farm.close; its threads end too."""
        await self._calls.run(self._farm.close)
        self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _held(self, batch: FarmBatch) -> AsyncFarmBatch:
        return AsyncFarmBatch(batch, self._connections, self._calls)
