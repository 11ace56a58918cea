"""The farm's own scripts beside the model: a simulated farm whose every question to its records goes to a real server
too, under the virtual clock, and is answered alike. The farm goes on with the model's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any
from unittest import mock

from redis import Redis

from sigmafarm_common.config import Config
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.store.redis import submitting, working
from sigmafarm_common.store.redis_store import RedisStore
from tests.simulation.store import SimulatedStore, Violation
from tests.store_model import store_model
from tests.store_model.both import answer_of, comparable, difference
from tests.store_model.store_model import StoreModel
from tests.store_model.uploads import Uploads

#: What the model answers in its own way: the keeper's lease, which the server ends by its own clock; and dead submits
#: whose key another took, which the model forgets at once and the scripts a piece at a time.
NOT_COMPARED = frozenset({"lead", "resign", "stale_batches"})
#: Methods of the model that the simulation answers otherwise are not the scripts' either.
COMPARED = frozenset(
    name
    for name in (*vars(StoreModel), *vars(Uploads))
    if not name.startswith("_") and name not in vars(SimulatedStore)
) | {"seal_batch", "claim", "finish", "fail", "cancel_batch"}


class Twin:
    """A real server's records of a simulated farm."""

    def __init__(self, client: Redis, config: Config, model: StoreModel, now_ms: Callable[[], int]):
        client.flushall()
        self._model, self._store = model, RedisStore(config, client, now_ms=now_ms)
        self._ids: dict[str, str] = {}
        self._unused = count()
        self.num_compared = 0

    def check(self, name: str, said: tuple[Any, ...], more: dict[str, Any], method: Callable[..., Any]) -> Any:
        """Call the model's method and return or raise what it does. Raises Violation where the server answers
        otherwise."""
        self._ids.clear()
        error: SigmafarmError | None = None
        answer: Any = None
        try:
            answer = method(*said, **more)
            own = comparable(name, answer)
        except SigmafarmError as raised:
            error, own = raised, (type(raised).__name__, str(raised))
        if name in COMPARED - NOT_COMPARED:
            theirs = answer_of(self._store, name, *said, **more)
            self.num_compared += 1
            if theirs != own:
                raise Violation(difference(name, said, more, theirs, own))
        if name in ("begin_batch", "stale_batches"):
            self._discard_dead()
        if error is not None:
            raise error
        return answer

    def _discard_dead(self) -> None:
        """Discard on the server what its keeper would in its next round, and the model has forgotten already: dead
        submits whose key another took. Pictures that they were to begin with would count as used until then."""
        for batch_id in set(self._store.stale_batches()) - set(self._model.stale_batches()):
            self._store.discard_batch(batch_id)

    @contextmanager
    def same_ids(self) -> Iterator[None]:
        """Let the server's store give the ids that the model has just given."""
        with (
            mock.patch.object(store_model, "new_batch_id", self._kept("batch", store_model.new_batch_id)),
            mock.patch.object(store_model, "new_token", self._kept("token", store_model.new_token)),
            mock.patch.object(submitting, "new_batch_id", partial(self._same, "batch")),
            mock.patch.object(working, "new_token", partial(self._same, "token")),
        ):
            yield

    def _same(self, kind: str) -> str:
        """Return what the model gave in this call; where it gave none, what nothing has."""
        return self._ids.get(kind) or f"9{next(self._unused):014d}"

    def _kept(self, kind: str, make: Callable[[], str]) -> Callable[[], str]:
        def new() -> str:
            self._ids[kind] = make()
            return self._ids[kind]

        return new
