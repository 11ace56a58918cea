"""The farm as a Python program sees it: submit prompts, wait, fetch pictures, ask for anything at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from os import PathLike
from os.path import isdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from sigmafarm.batch import FarmBatch
from sigmafarm.catalog import Catalog
from sigmafarm.connections import Connections
from sigmafarm.items import Item
from sigmafarm.job import FarmJob
from sigmafarm.kept_columns import KeptColumns
from sigmafarm.matrices import Matrix, MatrixSaid, matrix_of
from sigmafarm.notebooks import NUM_BATCHES, farm_html
from sigmafarm.one_call import in_one_call
from sigmafarm.picture_folder import once_a_picture, pictures_in
from sigmafarm.picture_sources import PictureSources
from sigmafarm.prompts import Prompts, name_of, rows_of
from sigmafarm.submission import OnBadRow, Order, Plan, Quota, Resolver, plan_items, submit_items
from sigmafarm_common.clock import Clock
from sigmafarm_common.config import Config
from sigmafarm_common.errors import FieldError, InvalidRequest, SigmafarmError
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Batch, ModelCard, WorkerInfo
from sigmafarm_common.residents import SeenModel, seen_models
from sigmafarm_common.settings import PICTURE_FIELDS, Settings
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import QueueInfo
from sigmafarm_common.tracing import Tracing
from sigmafarm_common.validation import shown
from sigmafarm_common.visible import visible

if TYPE_CHECKING:
    from PIL.Image import Image


class Farm:
    """A farm: the records in its Redis and the pictures in its object store.

    `Farm.from_env()` finds it by SIGMAFARM_* variables, .env, or an embedded farm that runs on this machine. Nothing is
    connected before the first question. Safe for threads; after a fork, and sent to another process by pickle, it opens
    connections of its own. `with Farm.from_env() as farm:` lets go of them at the end. AsyncFarm is the same for
    asyncio.
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
    ):
        """`can_read_files` is false where other people's submissions come by: then no setting may name a path."""
        self._can_read_files = can_read_files
        self.config = config or Config.load()
        self._connections = Connections(self.config, store=store, objects=objects, clock=clock, tracing=tracing)

    @classmethod
    def from_env(cls, **flags: Any) -> Self:
        """Return the farm that the settings name; flags win over the environment. Raises InvalidSettings."""
        return cls(Config.load(**flags))

    @property
    def store(self) -> Store:
        """The records. Raises StoreUnavailable, with the cure, where no farm is named and none runs here."""
        return self._connections.store

    @property
    def objects(self) -> ObjectStore:
        """The pictures."""
        return self._connections.objects

    def __repr__(self) -> str:
        return f"Farm(owner={self.config.owner!r}, namespace={self.config.namespace!r})"

    def submit(
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
    ) -> FarmBatch:
        """Submit prompts, requests, mappings of settings or the rows of a file, and return their batch: all of them
        accepted, or none.

        The rows are streamed. What a row leaves out comes from `defaults`, then from its model, then from the farm; a
        seed that nobody names is drawn and recorded. With `repeat`, each row gives that many jobs, whose seeds count up
        from the one named. A second submit with the same idempotency key returns the first one's batch. With
        `skip_bad`, bad rows are left out and told in `batch.skipped`, as far as they are a hundred. The batch is the
        settings' owner's, unless another is named; `quota` limits what that owner may have open. While another submit
        holds the key, this one waits for submit_stale_s, or for patience_s. What `matrix` takes makes several jobs
        of a row: `sweep={"guidance_scale": [5, 7.5]}`, `alternatives=True`, `wildcards="lists/"`, `draws=20`,
        `draw_seed=0`.

        Columns `id`, `label` and `x_...` of rows are kept with their jobs (`job.request.columns`), and so are those
        that `keep` names; `job.request.line` is the line of the file. `on_bad` is called with each bad row as it is
        found: its RowError, and the row.

        `init_image` and `mask_image` are defaults too; there and in rows a picture is a path, the bytes of a file, a
        picture of Pillow, what `upload` returned, or `job:` and the id of a job that is drawn. Each file is stored
        once. A folder as `init_image` makes a job of each row for each picture in it.

        With `one_generator`, row i is picture i of a call that draws all rows from one seed (`seed`, another default):
        what diffusers' pipelines draw of a list of prompts.

        A batch without a name is called by the file that its rows came from (`source`; the name of a path that is
        submitted), else by its first prompt's words: `batch.record.title`.

        With `reuse`, a job takes the picture of an equal one of the same owner, drawn by the same weights, and equal
        jobs that are in flight are drawn once. Equal are jobs of which every setting is, the seed too. `parent` is the
        id of the batch that this one goes on from, for people.

        Raises InvalidRows with the first hundred bad rows and their number, InvalidRequest for a bad default,
        UnknownModel, SubmitInProgress, QuotaExceeded, StoreUnavailable, RecordsLost. An iterable that gives nothing for
        submit_stale_s loses its batch: Conflict.
        """
        pictures, kept = self._pictures(owner), KeptColumns.of(keep)
        named = (("init_image", init_image), ("mask_image", mask_image), ("seed", seed))
        given = {name: value for name, value in named if value is not None}
        rows, said = self._read(rows_of(prompts, kept), defaults, given, pictures, matrix)
        if one_generator:
            rows = in_one_call(rows, said.seed)
        tracing = self._connections.tracing
        with tracing.span("submit"):
            order = Order(
                owner or self.config.owner,
                name,
                priority,
                said,
                idempotency_key,
                repeat,
                quota or Quota(),
                reuse,
                parent,
                source or name_of(prompts),
                tracing.parent(),
            )
            done = submit_items(
                self.store,
                Resolver(self._catalog_now(), said, pictures, kept),
                rows,
                order,
                can_skip=skip_bad,
                clock=self._connections.clock,
                patience_s=self.config.submit_stale_s if patience_s is None else patience_s,
                stale_s=self.config.submit_stale_s,
                on_bad=on_bad,
            )
        return self._handle(done.batch_id, is_new=done.is_new, skipped=done.skipped, num_skipped=done.num_skipped)

    def upload(self, picture: str | PathLike[str] | bytes | Image, *, owner: str | None = None) -> str:
        """Store a picture to draw from, and return what settings call it: `sha256:...`.

        `picture` is a path, the bytes of a PNG, JPEG or WEBP, or a picture of Pillow. The same picture is stored once.
        It is kept as long as a batch that uses it, and upload_keep_s beside that. Raises InvalidPicture, TooLarge,
        StoreUnavailable, StorageUnavailable.
        """
        return self._pictures(owner).upload(picture).upload.name

    def plan(
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
        """Return what `submit` would make of this: how many jobs, and the first of them. Nothing is submitted.

        Pictures that are files are read and checked, and not stored. Raises what `submit` would raise for the same
        rows, but for what only storing tells.
        """
        pictures, kept = self._pictures(owner, can_store=False), KeptColumns.of(keep)
        rows, said = self._read(rows_of(prompts, kept), defaults, {}, pictures, matrix)
        if one_generator:
            rows = in_one_call(rows, said.seed)
        order = Order(owner or self.config.owner, defaults=said, repeat=repeat)
        resolver = Resolver(self._catalog_now(), said, pictures, kept)
        return plan_items(resolver, rows, order, can_skip=skip_bad, num_first=num_first, on_bad=on_bad)

    def _read(
        self,
        rows: Iterable[Item],
        defaults: Mapping[str, Any] | Settings | None,
        given: Mapping[str, Any],
        pictures: PictureSources,
        matrix: MatrixSaid,
    ) -> tuple[Iterable[Item], Settings]:
        """Return the rows of all jobs and their defaults: pictures that defaults name are found or stored, a folder of
        them and a matrix make several rows of one."""
        values = _pictures_in(defaults) if isinstance(defaults, Settings) else _named_settings(defaults)
        values |= given
        if self._can_read_files and (folder := _folder_in(values)):
            del values["init_image"]
            rows = once_a_picture(rows, pictures_in(folder))
        values |= {
            name: pictures.named(name, values[name]).name for name in PICTURE_FIELDS if values.get(name) is not None
        }
        said = Settings.parse(values)
        if isinstance(defaults, Settings):
            said = defaults.model_copy(update=said.said())
        made = self.matrix(**matrix)
        return rows if made.is_plain else made.rows(rows, said), said

    def matrix(self, **said: Unpack[MatrixSaid]) -> Matrix:
        """Return what makes several jobs of a row, whose `count` tells how many. The folder of lists is the settings',
        unless one is named: that asks for alternatives too. Raises InvalidRequest, UnreadableInput."""
        if strange := next((name for name in said if name not in MatrixSaid.__annotations__), None):  # Unpack takes all
            raise TypeError(f"{strange} is no argument of submit: settings of all rows stand in defaults={{...}}")
        return matrix_of(said, self.config.wildcards)

    def batch(self, batch_id: str) -> FarmBatch:
        """Return a batch that was submitted before. Raises NotFound."""
        return self._handle(self.store.batch(batch_id).id)

    def batches(self, *, owner: str | None = None, limit: int = 50, before: str | None = None) -> list[Batch]:
        """Return the records of batches, newest first, starting behind the batch `before`."""
        return self.store.batches(owner=owner, limit=limit, before=before)

    def job(self, job_id: str) -> FarmJob:
        """Return a job with its settings, state, tries and picture: `farm.job(id).image()`. Raises NotFound."""
        return FarmJob.made_of(self.store.job(job_id), self._connections)

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that live."""
        return self.store.workers()

    def models(self) -> list[ModelCard]:
        """Return the models that requests may name."""
        return self._catalog().cards

    def seen_models(self) -> list[SeenModel]:
        """Return every model with the workers that serve it, and with why others could not load it."""
        return seen_models(self.models(), self.workers())

    def queues(self) -> list[QueueInfo]:
        """Return what waits, by model."""
        return self.store.queues()

    def _repr_html_(self) -> str:
        """Return what a notebook shows: workers, pace, newest batches. Says why where the farm does not answer."""
        try:
            store, now_ms = self.store, 1000 * self._connections.clock.wall_s()
            batches, page = self.batches(limit=NUM_BATCHES), self._connections.page("/")
            return farm_html(batches, store.workers(), store.queues(), store.pace(), now_ms, page)
        except SigmafarmError as error:
            return escape(visible(f"{self!r}: {error}"))

    def close(self) -> None:
        """Let go of the connections. May be called again."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pictures(self, owner: str | None, *, can_store: bool = True) -> PictureSources:
        whose, can_read = owner or self.config.owner, self._can_read_files
        return PictureSources(self.store, lambda: self.objects, whose, can_read_files=can_read, can_store=can_store)

    def _catalog(self) -> Catalog:
        return Catalog.gather(self.config, self.store.models())

    def _catalog_now(self) -> Catalog:
        """Return the catalog that refuses what no living worker can load."""
        return Catalog.gather(self.config, self.store.models(), self.store.workers())

    def _handle(self, batch_id: str, **about: Any) -> FarmBatch:
        return FarmBatch(batch_id, self._connections, **about)


def _named_settings(defaults: Any) -> dict[str, Any]:
    if defaults is not None and not isinstance(defaults, Mapping):
        raise InvalidRequest([FieldError("defaults", f"defaults is {shown(defaults)}: must be settings by name")])
    return dict(defaults or {})


def _pictures_in(defaults: Settings) -> dict[str, Any]:
    return {name: value for name in PICTURE_FIELDS if (value := getattr(defaults, name)) is not None}


def _folder_in(given: Mapping[str, Any]) -> Path | None:
    """Return the folder that is named as the picture to begin with, None for anything else."""
    value = given.get("init_image")
    return Path(value) if isinstance(value, str | PathLike) and isdir(value) else None
