"""How prompts become a batch: every row checked, every setting resolved, all rows or none accepted.

Rows stream through in chunks, so that a million of them need no memory. They are written to a batch that nobody sees
until it is sealed; whatever goes wrong before that, the open batch is discarded.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydantic import ValidationError

from sigmafarm.catalog import Catalog
from sigmafarm.items import InputRow, Item
from sigmafarm.kept_columns import KeptColumns, how_to_keep
from sigmafarm.open_batch import OpenBatch
from sigmafarm.picture_sources import PictureSources
from sigmafarm.row_writer import Pace, write_chunks
from sigmafarm.rows_digest import RowsDigest
from sigmafarm.titles import title_of
from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import (
    MAX_ERRORS,
    Conflict,
    FarmUnavailable,
    FieldError,
    InvalidInput,
    InvalidRequest,
    InvalidRows,
    RowError,
    SubmitInProgress,
    UnknownModel,
)
from sigmafarm_common.picture_settings import OF_A_MASK, OF_A_PICTURE, settings_alone
from sigmafarm_common.settings import (
    PICTURE_FIELDS,
    RANDOM_SEED_END,
    RenderRequest,
    Settings,
    draws_seed,
    laid,
    resolve_over,
    setting_like,
)
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import is_batch_id
from sigmafarm_common.store.protocol import SubmitSide
from sigmafarm_common.store.values import Ticket
from sigmafarm_common.validation import field_errors, shown, too_many_names

#: What part of submit_stale_s the rows of a chunk may take to come: pictures are stored meanwhile.
CHUNK_PART = 0.2
#: The largest seed.
MAX_SEED = 2**63 - 1
#: The label that says which repeat of a row a job is, where it has labels.
REPEAT_LABEL = "repeat"
#: Pause between two looks at a submit that holds the same idempotency key.
IN_PROGRESS_POLL_S = 0.5


@dataclass(frozen=True)
class Quota:
    """What an owner may have open, this submission counted; 0: any number."""

    jobs: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Order:
    """What is said about a whole submission."""

    owner: str
    name: str = ""
    priority: int = 0
    defaults: Settings = field(default_factory=Settings)
    idempotency_key: str | None = None
    #: Jobs made of each row; with a seed they take seed, seed + 1, and so on.
    repeat: int = 1
    #: Checked in the store, as its rows come in and when it is accepted: no two submits can pass it together.
    quota: Quota = field(default_factory=Quota)
    #: Whether a job that is equal to one that has a picture takes that, and equal ones are drawn once.
    reuse: bool = False
    #: The batch that it goes on from, empty for none.
    parent: str = ""
    #: What its rows came from, such as a file's name: what it is called if it has no name.
    source: str = ""
    #: The traceparent of its submit, empty for none.
    trace: str = ""

    def check(self) -> None:
        """Raise InvalidRequest with all bad fields."""
        bad = self._of_another_kind()
        if bad:
            raise InvalidRequest(bad)
        try:
            refusals.check_priority(self.priority)
        except InvalidRequest as error:
            bad += error.fields
        if self.repeat < 1:
            bad.append(FieldError("repeat", f"repeat is {self.repeat}: must be at least 1"))
        if self.parent and not is_batch_id(self.parent):
            bad.append(FieldError("parent", f"parent is {shown(self.parent)}: must be the id of a batch"))
        for name, text in (("name", self.name), ("idempotency_key", self.idempotency_key or "")):
            if len(text) > 200:
                bad.append(FieldError(name, f"{name} has {len(text)} characters: must have 200 at most"))
        if bad:
            raise InvalidRequest(bad)

    def digest(self) -> RowsDigest:
        """Return what takes the rows of this order in, to know them again."""
        return RowsDigest(self.defaults.said(), self.repeat, self.reuse)

    def _of_another_kind(self) -> list[FieldError]:
        """Return what is wrong with values that are not of their kind."""
        texts = {"name": self.name, "owner": self.owner, "parent": self.parent}
        texts |= {"idempotency_key": self.idempotency_key or ""}
        numbers = {"priority": self.priority, "repeat": self.repeat}
        wrong = {name: "a text" for name, value in texts.items() if not isinstance(value, str)}  # pyright: ignore[reportUnnecessaryIsInstance] - callers have no types
        wrong |= {name: "a whole number" for name, value in numbers.items() if type(value) is not int}
        return [
            FieldError(name, f"{name} is {shown(value)}: must be {wrong[name]}")
            for name, value in {**texts, **numbers}.items()
            if name in wrong
        ]


@dataclass(frozen=True)
class Submitted:
    """What became of a submission: its batch, whether it is a new one, and the rows that were skipped."""

    batch_id: str
    is_new: bool
    #: The first MAX_ERRORS rows that were skipped, and how many there were.
    skipped: tuple[RowError, ...] = ()
    num_skipped: int = 0


#: What is told of each bad row as it is found: what is wrong with it, and the row.
OnBadRow = Callable[[RowError, Item], None]


class BadRows:
    """The bad rows of a submission: the first MAX_ERRORS, and how many there are."""

    def __init__(self, on_bad: OnBadRow | None = None) -> None:
        self.kept: list[RowError] = []
        self.num = 0
        self._tell = on_bad

    def add(self, row: RowError, item: Item) -> None:
        self.num += 1
        if len(self.kept) < MAX_ERRORS:
            self.kept.append(row)
        if self._tell is not None:
            self._tell(row, item)


@dataclass(frozen=True)
class Plan:
    """What a submission would be: its number of jobs, and the first of them."""

    num_jobs: int
    first: tuple[RenderRequest, ...]
    skipped: tuple[RowError, ...] = ()
    num_skipped: int = 0


class Resolver:
    """Makes complete requests of rows: row over batch defaults over the model's over the farm's, seeds drawn, pictures
    found."""

    def __init__(self, catalog: Catalog, defaults: Settings, pictures: PictureSources, kept: KeptColumns | None = None):
        self._catalog, self._pictures, self._kept = catalog, pictures, kept or KeptColumns()
        self._said = defaults.said()
        #: What holds where a row says nothing, without the farm's defaults and with them, by what it says of its model.
        self._filled: dict[str | None, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        if defaults.model is not None or catalog.is_empty:
            catalog.model_named(defaults.model)  # said once, not for every row

    def resolve(self, item: Item) -> RenderRequest:
        """Return the whole request. Raises InvalidRequest with all bad fields, or UnknownModel."""
        said = self._kept.taken(_said_by(item))
        known, ground = self._defaults_for(said.get("model"))
        filled = self._pictures.filled(said, self._said, known)
        fields = resolve_over(ground, filled)
        has_picture, has_mask = (fields.get(name) is not None for name in PICTURE_FIELDS)
        if alone := settings_alone({**self._said, **filled}, has_picture=has_picture, has_mask=has_mask):
            raise InvalidRequest(alone)
        for name in (*([] if has_picture else OF_A_PICTURE), *([] if has_mask else OF_A_MASK)):
            fields.pop(name, None)  # a model's default
        try:
            request = RenderRequest.model_validate(fields)
        except ValidationError as error:
            raise InvalidRequest(field_errors(error, setting_like, how_to_keep)) from None
        self._catalog.check(request)
        return request

    def names_seed(self, item: Item) -> bool:
        """Whether a good row's seed was chosen by somebody, and not drawn."""
        return not draws_seed(_said_by(item).get("seed", self._said.get("seed")))

    def _defaults_for(self, model: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        model = model or self._said.get("model")
        if not isinstance(model, str | None):
            return {}, laid()
        if model not in self._filled:
            name = self._catalog.model_named(model)
            known = {**self._catalog.defaults_of(name), **self._said, "model": name}
            self._filled[model] = known, laid(known)
        return self._filled[model]


def submit_items(
    store: SubmitSide,
    resolver: Resolver,
    items: Iterable[Item],
    order: Order,
    *,
    can_skip: bool,
    clock: Clock,
    patience_s: float,
    stale_s: float,
    on_bad: OnBadRow | None = None,
) -> Submitted:
    """Accept all rows, or with `can_skip` all good ones, or nothing. A batch to which nothing is written for stale_s is
    taken for dead. `on_bad` is told of each bad row.

    Raises InvalidRows with every bad row, and SubmitInProgress if another submit held the key for all of patience_s,
    QuotaExceeded, and RecordsLost where Redis lost what was written meanwhile: it can be said again.
    """
    order.check()
    ticket = _begin(store, order, clock, patience_s)
    if not ticket.is_new:
        _check_same(items, order, ticket)
        store.wait_for_disk()
        return Submitted(ticket.batch_id, is_new=False)
    batch = OpenBatch(store, ticket.batch_id, clock, stale_s)
    try:
        digest = order.digest() if order.idempotency_key else None
        rows = digest.of(items) if digest else items
        checker = _Checker(resolver, order.repeat, can_skip, BadRows(on_bad))
        bad, first_prompt = _write_rows(batch, checker, rows, order, Pace(clock, CHUNK_PART * stale_s))
    except BaseException:
        _discard(store, ticket.batch_id)
        raise
    try:
        batch.seal(
            max_open_jobs=order.quota.jobs,
            said=digest.text() if digest else "",
            title="" if order.name else title_of(order.source, first_prompt, is_again=bool(order.parent)),
        )
    except BaseException as error:
        is_accepted = _discard(store, ticket.batch_id)
        if not (is_accepted and isinstance(error, FarmUnavailable)):
            raise
    store.wait_for_disk()
    return Submitted(ticket.batch_id, is_new=True, skipped=tuple(bad.kept), num_skipped=bad.num)


def _discard(store: SubmitSide, batch_id: str) -> bool:
    """Discard an open batch. Return whether it is accepted: the seal was made, and only its answer was lost."""
    try:
        store.discard_batch(batch_id)
    except FarmUnavailable:
        pass  # the keeper discards it when it is stale
    except Conflict:
        return True
    return False


def _check_same(items: Iterable[Item], order: Order, ticket: Ticket) -> None:
    """Raise Conflict if a batch of this idempotency key was submitted with other rows. Nothing is known of batches of
    older versions."""
    if not ticket.said:
        return
    digest = order.digest()
    for _ in digest.of(items):
        pass
    if digest.text() != ticket.said:
        raise refusals.key_of_other_rows(order.idempotency_key, ticket.batch_id)


def plan_items(
    resolver: Resolver,
    items: Iterable[Item],
    order: Order,
    *,
    can_skip: bool,
    num_first: int,
    on_bad: OnBadRow | None = None,
) -> Plan:
    """Check all rows as `submit_items` does and return what they would make; nothing is written. Raises as that does.

    Seeds that nobody named are drawn anew when it is submitted."""
    order.check()
    bad = BadRows(on_bad)
    checker = _Checker(resolver, order.repeat, can_skip, bad)
    requests = checker.requests(items)
    first = tuple(islice(requests, num_first))
    num_jobs = len(first) + sum(1 for _ in requests)
    checker.finish()
    return Plan(num_jobs, first, tuple(bad.kept), bad.num)


def _begin(store: SubmitSide, order: Order, clock: Clock, patience_s: float) -> Ticket:
    end_s = clock.monotonic_s() + patience_s
    while True:
        try:
            return store.begin_batch(
                name=order.name,
                owner=order.owner,
                priority=order.priority,
                defaults=order.defaults.said(),
                idempotency_key=order.idempotency_key,
                reuse=order.reuse,
                parent=order.parent,
                trace=order.trace,
            )
        except SubmitInProgress:
            if clock.monotonic_s() >= end_s:
                raise
            clock.wait(threading.Event(), IN_PROGRESS_POLL_S)


def _write_rows(
    batch: OpenBatch, checker: _Checker, items: Iterable[Item], order: Order, pace: Pace
) -> tuple[BadRows, str]:
    """Write the good rows; return the bad ones, and the first prompt that was written."""
    prompts = list[str]()

    def write(chunk: list[RenderRequest]) -> None:
        prompts.append(chunk[0].prompt)
        batch.add(chunk, max_open_bytes=order.quota.bytes)

    write_chunks(pace.chunks(checker.requests(items)), write)
    return checker.finish(), next(filter(None, prompts), "")


class _Checker:
    """One pass over the rows of a submission: counts them, collects what is wrong, hands on what is right."""

    def __init__(self, resolver: Resolver, repeat: int, can_skip: bool, bad: BadRows):
        self._resolver, self._repeat, self._can_skip, self._bad = resolver, repeat, can_skip, bad
        self.num_rows = 0
        self.num_good = 0

    def requests(self, items: Iterable[Item]) -> Iterator[RenderRequest]:
        """Yield the requests of good rows; once a bad row decides the matter, only check the rest."""
        for place, item in enumerate(items, start=1):
            self.num_rows += 1
            number = item.number if isinstance(item, InputRow) else place
            try:
                found = self._resolve_row(item, number)
            except (InvalidRequest, UnknownModel) as error:
                self._bad.add(RowError(number, error.fields), item)
                continue
            self.num_good += 1
            if self._can_skip or not self._bad.num:
                yield from found

    def finish(self) -> BadRows:
        """Return the bad rows that are left out. Raises InvalidRows, or InvalidInput where there was no row."""
        bad = self._bad
        if bad.num and (self.num_good == 0 or not self._can_skip):
            raise InvalidRows(bad.kept, self.num_rows, num_bad=bad.num)
        if self.num_good == 0:
            raise InvalidInput("there is no prompt: give at least one")
        return bad

    def _resolve_row(self, item: Item, number: int) -> Iterable[RenderRequest]:
        first = self._resolver.resolve(item)
        if self._can_skip or isinstance(item, InputRow):  # its row in the batch may be another
            first = first.model_copy(update={"line": number})
        return (first,) if self._repeat == 1 else self._repeat_row(item, first)

    def _repeat_row(self, item: Item, first: RenderRequest) -> list[RenderRequest]:
        seed, num = first.seed or 0, self._repeat
        if not self._resolver.names_seed(item):
            seeds = [seed, *(secrets.randbelow(RANDOM_SEED_END) for _ in range(num - 1))]
        elif seed + num - 1 <= MAX_SEED:
            seeds = [*range(seed, seed + num)]
        else:
            raise InvalidRequest([FieldError("seed", f"seed is {seed}: {num} repeats end above {MAX_SEED}; take less")])
        labels = [{**first.labels, REPEAT_LABEL: str(n)} if first.labels else None for n in range(1, num + 1)]
        said = zip(seeds, labels, strict=True)
        return [first.model_copy(update={"seed": each, "labels": label}) for each, label in said]


def _said_by(item: object) -> dict[str, Any]:
    """Return what a row says, by name; None counts as not said."""
    if isinstance(item, str):
        return {"prompt": item}
    if isinstance(item, RenderRequest):
        return {name: value for name, value in item.__dict__.items() if value is not None}
    if isinstance(item, InputRow):
        if item.errors:
            raise InvalidRequest(item.errors)
        item = item.data
    if not isinstance(item, Mapping):
        said = f"the row is {shown(item)}: must be a text, a mapping or a RenderRequest"
        raise InvalidRequest([FieldError("row", said)])
    if wrong := too_many_names(item):
        raise InvalidRequest([wrong])
    return {str(name): value for name, value in item.items() if value is not None}
