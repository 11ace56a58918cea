"""How rows reach the store: in chunks, and while one is written the next is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sigmafarm_common.clock import Clock
from sigmafarm_common.settings import RenderRequest

#: Rows that are written at once.
CHUNK_ROWS = 500

Write = Callable[[list[RenderRequest]], None]


@dataclass(frozen=True)
class Pace:
    """How long rows may take to come until those that came are written."""

    clock: Clock
    chunk_s: float

    def chunks(self, requests: Iterator[RenderRequest]) -> Iterator[list[RenderRequest]]:
        """Yield the requests, CHUNK_ROWS at a time, or fewer where they come slowly."""
        chunk, begin_s = list[RenderRequest](), self.clock.monotonic_s()
        for request in requests:
            chunk.append(request)
            if len(chunk) == CHUNK_ROWS or self.clock.monotonic_s() - begin_s >= self.chunk_s:
                yield chunk
                chunk, begin_s = [], self.clock.monotonic_s()
        if chunk:
            yield chunk


def write_chunks(chunks: Iterable[list[RenderRequest]], write: Write) -> None:
    """Write chunks in order, each full one in a thread while the next is made. Raises what making or writing one
    raises, once nothing is being written any more: nothing comes after the error."""
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as pool:
        under_way: Future[None] | None = None
        for chunk in chunks:
            if under_way:
                under_way.result()
            if len(chunk) < CHUNK_ROWS:  # the last, or one whose rows come slowly: they may not wait for the next
                write(chunk)
                under_way = None
            else:
                under_way = pool.submit(write, chunk)
        if under_way:
            under_way.result()
