"""The event stream, read once a process and handed to everybody who listens.

One thread waits at Redis; each listener has a bounded queue in the event loop. One that reads too slowly loses what
does not fit and is told to look again (`resync`). Nothing is kept here: what a listener missed is read from the stream
again, by the id of the last event that it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from anyio import to_thread

from sigmafarm_common.config import Config
from sigmafarm_common.errors import FarmUnavailable, NotFound
from sigmafarm_common.store.protocol import ReadSide
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Event

#: Events that wait for a slow listener; more are dropped, and it is told.
QUEUE_LIMIT = 1000
#: How long one read waits for news, and the pause after one that failed.
READ_S, AWAY_S = 1.0, 1.0
#: How long a start waits for the reader to know where "from now on" is.
PLACE_S = 1.0
#: Events that one read takes.
READ_LIMIT = 500
#: Batches whose owner is remembered.
KNOWN_BATCHES = 10_000
#: The word to a listener that it must look at everything again.
RESYNC = "resync"

_log = structlog.get_logger("sigmafarm.feed")


@dataclass(frozen=True)
class Heard(Event):
    """An event as listeners hear it: with its batch's owner (None: gone, or not asked for), and as it is sent."""

    owner: str | None = None
    wire: bytes = b""


Wants = Callable[[Event, str | None], bool]
Said = TypeVar("Said")


class Listener:
    """One reader's place in the feed. Used in the event loop only."""

    def __init__(self, wants: Wants):
        self._wants = wants
        self._waiting: deque[Heard] = deque()
        self._news = asyncio.Event()
        self._is_closed = False

    def hand(self, event: Heard) -> None:
        """Take an event, if it is wanted."""
        if not self._wants(event, event.owner):
            return
        if len(self._waiting) >= QUEUE_LIMIT:
            self.resync(event.id)
            return
        self._waiting.append(event)
        self._news.set()

    def resync(self, event_id: str) -> None:
        """Tell it to look at everything again, wanted or not: what waits is in that."""
        self._waiting.clear()
        self._waiting.append(resync(event_id))
        self._news.set()

    def close(self) -> None:
        """End the listener's stream."""
        self._is_closed = True
        self._news.set()

    async def next(self, timeout_s: float) -> Heard | None:
        """Return the next event, None when none came in time. Raises EOFError at the end."""
        if not self._waiting and not self._is_closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout_s)
        if self._is_closed:
            raise EOFError
        if not self._waiting:
            return None
        event = self._waiting.popleft()
        if not self._waiting:
            self._news.clear()
        return event


class Feed:
    """The reader and its listeners. `start` in the event loop that serves; `stop` ends every stream."""

    def __init__(self, config: Config):
        self._config = config
        self._listeners: set[Listener] = set()
        self._owners: OrderedDict[str, str | None] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._has_place = threading.Event()

    async def start(self) -> None:
        """Begin to read what is new from now on. Whoever listens before that is known is told to look again."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, name="feed", daemon=True)
        self._thread.start()
        await to_thread.run_sync(self._has_place.wait, PLACE_S)

    @property
    def num_listeners(self) -> int:
        return len(self._listeners)

    def close_listeners(self) -> None:
        """End every stream: the server goes down. Call it in the event loop."""
        for listener in list(self._listeners):
            listener.close()

    def stop(self) -> None:
        """End the reader. Waits for its last read, about READ_S. May be called again."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(2 * self._config.redis_timeout_s)

    @contextlib.asynccontextmanager
    async def listen(self, wants: Wants) -> AsyncGenerator[Listener]:
        """Listen to the events that are wanted; `wants` is told each event and its batch's owner."""
        listener = Listener(wants)
        if self._stopped.is_set():
            listener.close()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def owner_of(self, store: ReadSide, batch_id: str) -> str | None:
        """Return a batch's owner, None for one that is gone. Asks the store once a batch."""
        if batch_id in self._owners:
            return self._owners[batch_id]
        try:
            owner = store.batch(batch_id).owner
        except NotFound:
            return None
        self._owners[batch_id] = owner
        while len(self._owners) > KNOWN_BATCHES:
            self._owners.popitem(last=False)
        return owner

    def _read(self) -> None:
        store = RedisStore(self._config)
        last: str | None = None
        is_away = False
        while not self._stopped.is_set():
            try:
                last = self._read_once(store, last)
                is_away = False
            except FarmUnavailable as error:
                if not is_away:
                    _log.warning("event stream away", error=str(error))
                is_away = True
                self._stopped.wait(AWAY_S)
            except Exception:  # the outermost loop: what one event spoils must not end the feed
                _log.exception("event stream failed")
                self._stopped.wait(AWAY_S)
        store.close()

    def _read_once(self, store: ReadSide, last: str | None) -> str:
        if last is None:
            newest = store.last_events(limit=1)
            last = newest[0].id if newest else "0"
            self._call(self._resync, last)
            self._has_place.set()
        events = store.events(after=last, limit=READ_LIMIT, block_s=READ_S)
        for event in events:
            owner = self.owner_of(store, event.batch_id) if self._listeners and event.batch_id else None
            self._call(self._hand_out, heard(event, owner))
        return events[-1].id if events else last

    def _hand_out(self, event: Heard) -> None:
        for listener in list(self._listeners):
            listener.hand(event)

    def _resync(self, event_id: str) -> None:
        for listener in list(self._listeners):
            listener.resync(event_id)

    def _call(self, function: Callable[[Said], None], said: Said) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it was closed since
                loop.call_soon_threadsafe(function, said)


def heard(event: Event, owner: str | None) -> Heard:
    """Return an event as listeners hear it: written once, sent to many."""
    said = {"id": event.id, "kind": event.kind, "batch_id": event.batch_id, "job_id": event.job_id}
    data = json.dumps({**event.data, **said}, ensure_ascii=False)
    wire = f"event: {event.kind}\nid: {event.id}\ndata: {data}\n\n".encode("utf-8", "replace")
    return Heard(event.id, event.kind, event.batch_id, event.job_id, event.data, owner, wire)


def resync(event_id: str) -> Heard:
    """Return the word to a listener that it missed something up to an event."""
    return heard(Event(event_id, RESYNC, ""), None)
