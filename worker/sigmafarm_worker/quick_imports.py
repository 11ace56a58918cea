"""Makes the libraries behind an engine come sooner: what they ask twice is answered once, and what nobody needs yet is
put off."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any

#: Modules that are run when something of theirs is first used. diffusers' schedulers import scipy.stats for the spacing
#: "beta" alone, and no engine asks them for that.
PUT_OFF = ("scipy.stats",)

#: Held while a module that was put off runs: others wait for it, and one that it uses itself may run within.
_running = threading.RLock()


@contextmanager
def quick_imports() -> Generator[None]:
    """Within, import what is heavy."""
    asked = metadata.packages_distributions
    # transformers and diffusers each ask which package a module belongs to: every file of every package is looked at.
    metadata.packages_distributions = cache(asked)
    for name in PUT_OFF:
        put_off(name)
    try:
        yield
    finally:
        metadata.packages_distributions = asked


def put_off(name: str) -> None:
    """Let a module be run when something of it is first used, not when it is imported. What is not here, or was
    imported already, stays as it is."""
    try:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
    except ModuleNotFoundError:  # of what it lies in
        spec = None
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = PutOff
    sys.modules[name] = module
    package, _, last = name.rpartition(".")
    if package:
        setattr(sys.modules[package], last, module)


class PutOff(ModuleType):
    """A module that has not run yet. (importlib.util.LazyLoader's runs when it is imported a second time, for Python
    then asks for its __spec__; seen with 3.11.)"""

    def __getattr__(self, name: str) -> Any:
        # Only what it does not have comes here. Whoever looks through all modules asks for names like __file__.
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _running:
            if self.__class__ is PutOff:
                self.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue] - Python lets modules do so
                spec = self.__spec__
                assert spec is not None
                assert spec.loader is not None
                spec.loader.exec_module(self)
        return getattr(self, name)
