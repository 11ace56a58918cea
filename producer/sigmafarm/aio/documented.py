"""Docstrings that are written once: `help(AsyncFarm.submit)` says what `help(Farm.submit)` does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def says_as(sync: Any) -> Callable[[F], F]:
    """Return a decorator that puts the docstring of the synchronous name behind that of the asynchronous one."""

    def documented(function: F) -> F:
        function.__doc__ = f"{inspect.getdoc(function)}\n\n{inspect.getdoc(sync)}"
        return function

    return documented
