"""Calls of the farm from an event loop of asyncio: each in a thread, a bounded number of them at a time.

What is written for a thread is run, not written again. Nothing holds a thread while it only waits: work with pauses
(pausing.py) sleeps in the event loop between its questions.

A cancelled await leaves nothing behind. What has not begun yet, never does. What runs is told, through the `check` that
it was given, and its end is waited for: a question to the farm ends within redis_timeout_s.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sigmafarm.pausing import Pause

if TYPE_CHECKING:
    from asyncio import Future

T = TypeVar("T")
R = TypeVar("R")

#: Things that one call fetches of many.
NUM_FETCHED = 100


class CalledOffError(BaseException):
    """Ends work in a thread that nobody waits for any more. No handler of errors takes it for one."""


class Calls:
    """Runs calls in so many threads of its own; without a number, in those that asyncio shares."""

    def __init__(self, num_threads: int | None = None):
        self._num_threads, self._executor = num_threads, None if num_threads is None else _executor(num_threads)

    async def run(self, do: Callable[[], T]) -> T:
        """Return what a short call returns, or raise what it raises."""
        return await self.run_checked(lambda _: do())

    async def run_checked(self, do: Callable[[Callable[[], None]], T]) -> T:
        """Run a long call. It gets a `check` to call now and then, which ends it once its await is cancelled."""
        import asyncio  # brings a twentieth of a second: only when asked
        from contextvars import copy_context

        call = _Call(do)
        future = asyncio.get_running_loop().run_in_executor(self._executor, copy_context().run, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if call.call_off():
                await _end_of(future)
            else:
                future.cancel()
            raise

    async def run_through(self, work: Generator[Pause, None, T]) -> T:
        """Do all of some work, its pauses in the event loop, and return what came of it."""
        import asyncio

        try:
            while not isinstance(each := await self.run(partial(_next_of, work)), _Result):
                await asyncio.sleep(each.seconds)
            return each.value
        finally:
            work.close()

    async def things_of(self, work: Generator[Pause | T, None, None]) -> AsyncGenerator[T]:
        """Yield the things that some work yields; its pauses are in the event loop."""
        import asyncio

        try:
            while not isinstance(each := await self.run(partial(_next_of, work)), _Result):
                if isinstance(each, Pause):
                    await asyncio.sleep(each.seconds)
                else:
                    yield each
        finally:
            work.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Calls, (self._num_threads,)

    def close(self) -> None:
        """Let the threads end; the next call has others."""
        if self._executor is not None and self._num_threads is not None:
            self._executor.shutdown(wait=False)
            self._executor = _executor(self._num_threads)

    async def each_of(self, things: Callable[[], Iterable[T]]) -> AsyncGenerator[T]:
        """Yield things that a thread fetches, NUM_FETCHED at a time."""
        fetched = await self.run(lambda: iter(things()))
        while some := await self.run(lambda: list(islice(fetched, NUM_FETCHED))):
            for each in some:
                yield each


def checked(things: Iterable[T], check: Callable[[], None]) -> Iterator[T]:
    """Yield things as long as a check allows it."""
    for each in things:
        check()
        yield each


def _executor(num_threads: int) -> ThreadPoolExecutor:
    """Return threads that begin when they are needed, and end when nobody holds them any more."""
    return ThreadPoolExecutor(num_threads, "sigmafarm")


class _Call(Generic[T]):
    """One call, which can be called off."""

    def __init__(self, do: Callable[[Callable[[], None]], T]):
        self._do, self._lock = do, threading.Lock()
        self._has_begun = self._is_off = False

    def __call__(self) -> T:
        with self._lock:
            self.check()
            self._has_begun = True
        return self._do(self.check)

    def check(self) -> None:
        """Raise CalledOffError if nobody waits any more."""
        if self._is_off:
            raise CalledOffError

    def call_off(self) -> bool:
        """Let it end, or never begin; return whether it has begun."""
        with self._lock:
            self._is_off = True
            return self._has_begun


class _Result(Generic[T]):
    """What work returned at its end."""

    def __init__(self, value: T):
        self.value = value


def _next_of(work: Generator[T, None, R]) -> T | _Result[R]:
    try:
        return next(work)
    except StopIteration as end:
        return _Result(end.value)


async def _end_of(future: Future[Any]) -> None:
    """Wait until a call has ended, however often that is cancelled too; what became of it is nobody's any more."""
    import asyncio

    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()
