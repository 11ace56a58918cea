"""Connections at the door: how many are held, which one gives way, and how long each may take.

A connection that asks nothing just now, because it is idle between two requests or its next one has not come whole, is
quiet: it has a deadline, and the one that is quiet longest gives way when a newcomer finds every place taken. So half
requests by the thousand push each other out and nobody else. Where all are busy, some newcomers are let in as guests:
they are refused in an orderly way, and /healthz answers them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from sigmafarm.http.guard.crowd import HELD, IS_GUEST
from sigmafarm.http.guard.places import Places

#: What a connection gets whose request did not come whole, and one for which there is no place at all.
TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO_PLACE = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#: Seconds for which a client may leave an answer unread before its connection is cut.
UNREAD_S = 60.0

_log = structlog.get_logger("sigmafarm.http")


class Door:
    """The connections of one server. Used in the event loop only."""

    def __init__(self, places: Places, header_wait_s: float):
        self.header_wait_s = header_wait_s
        self._places = places
        self._all: set[GuardedProtocol] = set()
        #: Those that ask nothing just now, quiet longest first.
        self._quiet: OrderedDict[GuardedProtocol, None] = OrderedDict()
        self._is_full = False

    @property
    def num_open(self) -> int:
        return len(self._all)

    def enter(self, connection: GuardedProtocol) -> bool:
        """Let a connection in, for which another may have to give way. False: there is not even a guest's place."""
        is_full = len(self._all) >= self._places.connections
        is_room_made = not is_full or self._make_room()
        if not is_room_made and len(self._all) >= self._places.connections + self._places.guests:
            return False
        connection.is_guest = not is_room_made
        self._all.add(connection)
        self._quiet[connection] = None
        self._tell(is_full)
        return True

    def leave(self, connection: GuardedProtocol) -> None:
        self._all.discard(connection)
        self._quiet.pop(connection, None)

    def quiet(self, connection: GuardedProtocol, *, is_quiet: bool) -> None:
        """Take note of whether a connection asks something."""
        if not is_quiet:
            self._quiet.pop(connection, None)
        elif connection in self._all:
            self._quiet.setdefault(connection, None)

    def _make_room(self) -> bool:
        """Cut the connection that is quiet longest, else one whose body is late and whose caller nobody knows."""
        if self._quiet:
            oldest, _ = self._quiet.popitem(last=False)
        else:
            oldest = next((each for each in self._all if each.is_stranger_with_half_a_body), None)
            if oldest is None:
                return False
        self._all.discard(oldest)
        oldest.cut()
        return True

    def _tell(self, is_full: bool) -> None:
        if is_full and not self._is_full:
            _log.warning("every connection is in use: the quietest give way", connections=self._places.connections)
        self._is_full = is_full


class GuardedProtocol(H11Protocol):
    """uvicorn's connection, which passes the door and has deadlines for headers and for unread answers."""

    def __init__(self, door: Door, **about: Any):
        super().__init__(**about)
        self._door = door
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self.is_guest = False

    @property
    def is_stranger_with_half_a_body(self) -> bool:
        """Whether a request under way waits for its body, and it is not known yet who sends it."""
        return self._is_asking and self.cycle.more_body and not self.scope.get(HELD)

    def cut(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._door.enter(self):
            transport.write(NO_PLACE)
            transport.close()
            return
        if self.is_guest:
            self.app_state = {**self.app_state, IS_GUEST: True}
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(UNREAD_S, self.cut)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    @property
    def _is_asking(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _look(self) -> None:
        """Begin the deadline of the next request's headers, or end it: they have come."""
        is_quiet = not self._is_asking
        self._door.quiet(self, is_quiet=is_quiet)
        if not is_quiet and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif is_quiet and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self._door.header_wait_s, self._refuse_late)

    def _refuse_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.write(TOO_LATE)
            self.transport.close()
