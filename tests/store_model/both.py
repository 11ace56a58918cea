"""The store on a real server and its model behind one name: every call goes to both, whose answers must be equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import TakenBack
from tests.store_model.store_model import StoreModel


class Both:
    """Answers (or raises nothing and returns an error as its class and text) what both answer. Raises AssertionError
    where they differ."""

    def __init__(self, one: RedisStore, two: StoreModel):
        self._one, self._two = one, two

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            one, two = answer_of(self._one, name, *args, **kwargs), answer_of(self._two, name, *args, **kwargs)
            assert one == two, difference(name, args, kwargs, one, two)
            return one

        return call


def answer_of(store: RedisStore | StoreModel, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the error that it raises as its class and text; orders that mean nothing are sorted."""
    try:
        return comparable(name, getattr(store, name)(*args, **kwargs))
    except SigmafarmError as error:
        return type(error).__name__, str(error)


def comparable(name: str, answer: Any) -> Any:
    """Return an answer without the orders that mean nothing."""
    if isinstance(answer, TakenBack):
        return sorted(answer.lost), sorted(answer.unclaimed)
    if name == "dispatch":
        return sorted(answer, key=lambda d: d.model)  # models have no order; within one it must be the same
    if name in ("events", "last_events"):
        return [(e.kind, e.batch_id, e.job_id, dict(e.data)) for e in answer]
    return answer


def difference(name: str, args: object, kwargs: object, one: object, two: object) -> str:
    """Return what two answers to a call are, as a sentence."""
    return f"{name}{args}{kwargs}: Redis says {one}, the model says {two}"
