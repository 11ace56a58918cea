"""The farm as a Python program sees it: submit prompts, wait, fetch pictures, ask for anything at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Self

from sigmafarm.batch import FarmBatch
from sigmafarm.catalog import Catalog
from sigmafarm.submission import Item, Order, Quota, Resolver, submit_items
from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.objects import ObjectStore, open_objects
from sigmafarm_common.records import Batch, Job, ModelCard, WorkerInfo
from sigmafarm_common.settings import RenderRequest, Settings
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import QueueInfo


class Farm:
    """A farm: the records in its Redis and the pictures in its object store.

    `Farm.from_env()` finds it by SIGMAFARM_* variables, .env, or an embedded farm that runs on this machine. Nothing is
    connected before the first question. Safe for threads.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        store: Store | None = None,
        objects: ObjectStore | None = None,
        clock: Clock | None = None,
    ):
        self.config = config or Config.load()
        self._clock = clock or SystemClock()
        if store is not None:
            self.store = store
        if objects is not None:
            self.objects = objects

    @classmethod
    def from_env(cls, **flags: Any) -> Self:
        """Return the farm that the settings name; flags win over the environment. Raises InvalidSettings."""
        return cls(Config.load(**flags))

    @cached_property
    def store(self) -> Store:
        """The records. Raises StoreUnavailable, with the cure, where no farm is named and none runs here."""
        from sigmafarm_common.store.redis_store import RedisStore  # redis takes a tenth of a second: only when asked

        return RedisStore(self.config)

    @cached_property
    def objects(self) -> ObjectStore:
        """The pictures."""
        return open_objects(self.config)

    def submit(
        self,
        prompts: str | RenderRequest | Mapping[str, Any] | Iterable[Item],
        *,
        name: str = "",
        priority: int = 0,
        defaults: Mapping[str, Any] | Settings | None = None,
        idempotency_key: str | None = None,
        repeat: int = 1,
        skip_bad: bool = False,
        owner: str | None = None,
        patience_s: float | None = None,
        quota: Quota | None = None,
    ) -> FarmBatch:
        """Submit prompts, requests or mappings of settings, and return their batch: all of them accepted, or none.

        The rows are streamed. What a row leaves out comes from `defaults`, then from its model, then from the farm; a
        seed that nobody names is drawn and recorded. With `repeat`, each row gives that many jobs, whose seeds count up
        from the one named. A second submit with the same idempotency key returns the first one's batch. With
        `skip_bad`, bad rows are left out and told in `batch.skipped`, as far as they are a hundred. The batch is the
        settings' owner's, unless another is named; `quota` limits what that owner may have open. While another submit
        holds the key, this one waits for submit_stale_s, or for patience_s.

        Raises InvalidRows with the first hundred bad rows and their number, InvalidRequest for a bad default,
        UnknownModel, SubmitInProgress, QuotaExceeded, StoreUnavailable. An iterable that gives nothing for
        submit_stale_s loses its batch: Conflict.
        """
        said = defaults if isinstance(defaults, Settings) else Settings.parse(defaults or {})
        order = Order(owner or self.config.owner, name, priority, said, idempotency_key, repeat, quota or Quota())
        done = submit_items(
            self.store,
            Resolver(self._catalog(), said),
            _rows_of(prompts),
            order,
            can_skip=skip_bad,
            clock=self._clock,
            patience_s=self.config.submit_stale_s if patience_s is None else patience_s,
        )
        return self._handle(done.batch_id, is_new=done.is_new, skipped=done.skipped, num_skipped=done.num_skipped)

    def batch(self, batch_id: str) -> FarmBatch:
        """Return a batch that was submitted before. Raises NotFound."""
        return self._handle(self.store.batch(batch_id).id)

    def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        """Return the records of batches, newest first, starting behind the batch `before`."""
        return self.store.batches(owner=owner, limit=limit, before=before)

    def job(self, job_id: str) -> Job:
        """Return a job with its settings, state, tries and picture. Raises NotFound."""
        return self.store.job(job_id)

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that live."""
        return self.store.workers()

    def models(self) -> list[ModelCard]:
        """Return the models that requests may name."""
        return self._catalog().cards

    def queues(self) -> list[QueueInfo]:
        """Return what waits, by model."""
        return self.store.queues()

    def close(self) -> None:
        """Let go of the connections. May be called again."""
        close = getattr(self.__dict__.pop("store", None), "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _catalog(self) -> Catalog:
        return Catalog.gather(self.config, self.store.models())

    def _handle(self, batch_id: str, **about: Any) -> FarmBatch:
        return FarmBatch(batch_id, self.store, lambda: self.objects, self._clock, **about)


def _rows_of(prompts: str | RenderRequest | Mapping[str, Any] | Iterable[Item]) -> Iterable[Item]:
    """Return an iterable of rows; a single prompt is one row, not its letters."""
    if isinstance(prompts, str | RenderRequest | Mapping):
        one: Any = prompts
        return [one]
    return prompts
