"""The farm for asyncio has the names of the other one, with the same arguments: they cannot drift apart."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from sigmafarm import AsyncFarm, AsyncFarmBatch, AsyncFarmJob, Farm, FarmBatch, FarmJob

#: What blocks by its nature, and has no place in an event loop.
LEFT_OUT = {"store", "objects"}
#: What AsyncFarm takes beside what Farm does.
ITS_OWN = {"num_threads"}


def public(kind: type) -> set[str]:
    """Return the names of a class itself; those of pydantic's models begin with model_."""
    return {name for name in vars(kind) if not name.startswith(("_", "model_"))}


PAIRS = [(Farm, AsyncFarm), (FarmBatch, AsyncFarmBatch), (FarmJob, AsyncFarmJob)]
NAMES = [
    pytest.param(sync, other, name, id=f"{sync.__name__}.{name}")
    for sync, other in PAIRS
    for name in sorted(public(sync) - LEFT_OUT)
]


def arguments(function: Any) -> list[tuple[Any, ...]]:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default, p.annotation) for p in parameters if p.name not in ITS_OWN]


@pytest.mark.parametrize(("sync", "other"), PAIRS, ids=lambda kind: kind.__name__)
def test_both_have_the_same_public_names(sync: type, other: type):
    assert public(other) - {"held"} == public(sync) - LEFT_OUT


def test_both_are_made_the_same_way():
    assert arguments(AsyncFarm.__init__) == arguments(Farm.__init__)
    assert {"__await__", "_repr_html_"} <= set(vars(AsyncFarmBatch))


@pytest.mark.parametrize(("sync", "other", "name"), NAMES)
def test_each_takes_the_same_arguments_and_gives_the_same_to_await(sync: type, other: type, name: str):
    one, many = inspect.getattr_static(sync, name), inspect.getattr_static(other, name)
    if isinstance(one, classmethod):
        assert arguments(getattr(other, name)) == arguments(getattr(sync, name))
        return
    is_property = isinstance(one, property)
    function = one.fget if is_property else one
    gives = str(inspect.signature(function).return_annotation)
    is_many = gives.startswith("Iterator[")

    assert inspect.isasyncgenfunction(many) if is_many else inspect.iscoroutinefunction(many)
    # a default's lambda is another object each time
    assert [a[:2] + a[3:] for a in arguments(many)] == [a[:2] + a[3:] for a in arguments(function)]
    defaults = [(x[2], y[2]) for x, y in zip(arguments(many), arguments(function), strict=True)]
    assert all(x == y or (callable(x) and callable(y)) for x, y in defaults)
    expected = re.sub(r"\b(FarmBatch|FarmJob|Iterator)\b", r"Async\1", gives)
    assert inspect.signature(many).return_annotation == expected


@pytest.mark.parametrize(("sync", "other", "name"), NAMES)
def test_help_says_all_that_the_other_says(sync: type, other: type, name: str):
    said = inspect.getdoc(inspect.getattr_static(sync, name)) or ""

    if not isinstance(inspect.getattr_static(sync, name), property):
        assert said in (inspect.getdoc(getattr(other, name)) or "")
