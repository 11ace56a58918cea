"""Who waits at this process for which batch, and what becomes of a batch when its client leaves.

A client that leaves has its open jobs cancelled. One that says that it comes back after a broken connection gets a
grace first, so that the work goes on under it. A batch has one timer at most, of its last leave: it ends as soon as
anybody takes a seat or has the answer. A client that may come back may do so at another process, so its seat stands in
Redis too, and stays there for the grace after it left: nothing is cancelled that somebody waits for anywhere, or may
yet come back to from anywhere. The lobby is used in the event loop only. What a
restart forgets are connections that broke with it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, OrderedDict
from typing import Annotated, Self

import structlog
from fastapi import Depends, Request

from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.errors import NotFound, SigmafarmError

#: How long a client that said so may take to come back, at least. openai-python's first two retries come within 1 s.
GRACE_S = 4.0
#: How long openai's clients pause before the first retry (doubled before each further one) and at most, and what the
#: way here may take.
FIRST_PAUSE_S, LONGEST_PAUSE_S, WAY_S = 0.5, 8.0, 2.0
#: How long a seat in Redis outlasts the longest wait, should its process die.
SEAT_MARGIN_S = 60.0
#: Answered batches that are remembered.
KNOWN_ANSWERS = 2_000

_log = structlog.get_logger("sigmafarm.http")


class Seat:
    """One waiting client. `with lobby.seat(...)`: at its end the batch is answered, given up, left or kept."""

    def __init__(self, lobby: Lobby, batch_id: str, seat_id: str, grace_s: float):
        self._lobby, self.batch_id, self.grace_s = lobby, batch_id, grace_s
        #: Its name in Redis, empty for a client that never comes back.
        self.id = seat_id
        self._is_over = self.is_kept = False

    def answer(self) -> None:
        """Say that the client has what it came for."""
        self._is_over = True
        self._lobby.remember(self.batch_id)

    def give_up(self) -> None:
        """Say that the client gets an error for good: what is still open is drawn for nobody."""
        self.grace_s = 0.0

    def keep(self) -> None:
        """Leave the batch to the client's next try: this process ends."""
        self.is_kept = self.grace_s > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        is_wanted = self._is_over or self.is_kept
        self._lobby.leave(self, None if is_wanted else self.grace_s)


class Lobby:
    """The seats of one process."""

    def __init__(self, site: Site):
        self._site = site
        self._seats: Counter[str] = Counter()
        self._answered: OrderedDict[str, None] = OrderedDict()
        #: The timers of batches that their last client left, one each.
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def seat(self, batch_id: str, *, grace_s: float = 0.0, seat_id: str = "") -> Seat:
        """Take a seat: from here on the batch is waited for. A client that leaves it may take grace_s to come back."""
        self._end_timer(batch_id)
        self._seats[batch_id] += 1
        return Seat(self, batch_id, seat_id, grace_s)

    def is_free(self, batch_id: str) -> bool:
        """Whether nobody here waits for a batch, or had its answer."""
        return batch_id not in self._seats and batch_id not in self._answered

    def remember(self, batch_id: str) -> None:
        """Take note that a batch was answered."""
        self._end_timer(batch_id)
        self._answered[batch_id] = None
        while len(self._answered) > KNOWN_ANSWERS:
            self._answered.popitem(last=False)

    def leave(self, seat: Seat, grace_s: float | None) -> None:
        """Give a seat back. Unless grace_s is None, cancel its batch when nobody waits for it after that time."""
        batch_id = seat.batch_id
        self._seats[batch_id] -= 1
        is_last = self._seats[batch_id] <= 0
        if is_last:
            del self._seats[batch_id]
        loop = asyncio.get_running_loop()
        is_cancelled_now = is_last and grace_s is not None and grace_s <= 0
        if seat.id and (grace_s or seat.is_kept):
            loop.run_in_executor(None, self._linger, batch_id, seat.id, seat.grace_s)
        elif seat.id or is_cancelled_now:
            loop.run_in_executor(None, self._end_seat, batch_id, seat.id, is_cancelled_now)
        if is_last and grace_s is not None and grace_s > 0:
            self._end_timer(batch_id)
            self._timers[batch_id] = loop.call_later(grace_s, self._time_is_over, batch_id, seat.id)

    def _time_is_over(self, batch_id: str, seat_id: str) -> None:
        del self._timers[batch_id]
        asyncio.get_running_loop().run_in_executor(None, self._end_seat, batch_id, seat_id, True)

    def _end_timer(self, batch_id: str) -> None:
        if timer := self._timers.pop(batch_id, None):
            timer.cancel()

    def _linger(self, batch_id: str, seat_id: str, grace_s: float) -> None:
        """Keep the seat of a client that left for as long as it may take to come back. In a thread."""
        try:
            self._site.store.take_seat(batch_id, seat_id, for_s=grace_s)
        except SigmafarmError as error:
            _log.warning("seat of a client that left is not kept", batch=batch_id, error=str(error))

    def _end_seat(self, batch_id: str, seat_id: str, is_cancelled: bool) -> None:
        """Give a seat back in Redis; cancel its batch, if nobody waits for it at another process. In a thread."""
        store, num = self._site.store, 0
        try:
            if seat_id:
                store.leave_seat(batch_id, seat_id)
            if is_cancelled and not store.num_seats(batch_id):
                num = store.cancel_batch(batch_id)
        except NotFound:
            return
        except SigmafarmError as error:
            _log.warning("batch of a client that left is not cancelled", batch=batch_id, error=str(error))
        if num:
            _log.info("batch cancelled: its client left", batch=batch_id, jobs=num)


def new_seat_id() -> str:
    """Return a name for a seat that no other has."""
    return secrets.token_hex(8)


def grace_s(num_retries: int | None) -> float:
    """Return how long a client may take to come back from its so manieth retry: it pauses ever longer."""
    pause_s = min(FIRST_PAUSE_S * 2.0 ** min(num_retries or 0, 10), LONGEST_PAUSE_S)
    return max(GRACE_S, pause_s + WAY_S)


async def lobby_of(request: Request, site: SiteDep) -> Lobby:
    """Return the lobby of the process, made at the first request."""
    state = request.app.state
    if not hasattr(state, "lobby"):
        state.lobby = Lobby(site)
    return state.lobby


LobbyDep = Annotated[Lobby, Depends(lobby_of)]
