"""Who waits at this process for which batch, and what becomes of a batch when its client leaves.

A client that leaves has its open jobs cancelled. One that says that it comes back after a broken connection gets
GRACE_S first, so that the work goes on under it. Used in the event loop only. Nothing here must survive the process:
what a restart forgets are connections that broke with it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from typing import Annotated, Self

import structlog
from fastapi import Depends, Request

from sigmafarm.http.routes.events import MAX_STREAMS
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.errors import NotFound, SigmafarmError, TooManyRequests

#: How long a client that said so may take to come back. openai-python's first two retries come within 1 s.
GRACE_S = 4.0
#: Answered batches that are remembered.
KNOWN_ANSWERS = 2_000

_log = structlog.get_logger("sigmafarm.http")


class Seat:
    """One waiting client. `with lobby.seat(...)`: at its end the batch is answered, given up, left or kept."""

    def __init__(self, lobby: Lobby, batch_id: str, *, comes_back: bool):
        self._lobby, self.batch_id, self._comes_back = lobby, batch_id, comes_back
        self._is_over = self._is_kept = False

    def answer(self) -> None:
        """Say that the client has what it came for."""
        self._is_over = True
        self._lobby.remember(self.batch_id)

    def give_up(self) -> None:
        """Say that the client gets an error for good: what is still open is drawn for nobody."""
        self._comes_back = False

    def keep(self) -> None:
        """Leave the batch to the client's next try: this process ends."""
        self._is_kept = self._comes_back

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lobby.leave(self.batch_id)
        if self._is_over or self._is_kept:
            return
        if self._comes_back:
            self._lobby.cancel_later(self.batch_id)
        else:
            self._lobby.cancel(self.batch_id)


class Lobby:
    """The seats of one process."""

    def __init__(self, site: Site):
        self._site = site
        self._seats: Counter[str] = Counter()
        self._answered: OrderedDict[str, None] = OrderedDict()

    def check_room(self) -> None:
        """Raise TooManyRequests when as many wait as this process holds."""
        if self._site.feed.num_listeners >= MAX_STREAMS:
            raise TooManyRequests(f"{MAX_STREAMS} clients wait here, the most that this server holds: come later", 5.0)

    def seat(self, batch_id: str, *, comes_back: bool = False) -> Seat:
        """Take a seat: from here on the batch is waited for."""
        self._seats[batch_id] += 1
        return Seat(self, batch_id, comes_back=comes_back)

    def is_free(self, batch_id: str) -> bool:
        """Whether nobody here waits for a batch, or had its answer."""
        return batch_id not in self._seats and batch_id not in self._answered

    def remember(self, batch_id: str) -> None:
        """Take note that a batch was answered."""
        self._answered[batch_id] = None
        while len(self._answered) > KNOWN_ANSWERS:
            self._answered.popitem(last=False)

    def leave(self, batch_id: str) -> None:
        """Give a seat back."""
        self._seats[batch_id] -= 1
        if self._seats[batch_id] <= 0:
            del self._seats[batch_id]

    def cancel_later(self, batch_id: str) -> None:
        """Cancel a batch unless somebody waits for it again in GRACE_S."""
        asyncio.get_running_loop().call_later(GRACE_S, self.cancel, batch_id)

    def cancel(self, batch_id: str) -> None:
        """Cancel a batch that nobody here waits for, beside the event loop."""
        if batch_id not in self._seats:
            asyncio.get_running_loop().run_in_executor(None, self._cancel, batch_id)

    def _cancel(self, batch_id: str) -> None:
        try:
            num = self._site.store.cancel_batch(batch_id)
        except NotFound:
            return
        except SigmafarmError as error:
            _log.warning("batch of a client that left is not cancelled", batch=batch_id, error=str(error))
            return
        if num:
            _log.info("batch cancelled: its client left", batch=batch_id, jobs=num)


async def lobby_of(request: Request, site: SiteDep) -> Lobby:
    """Return the lobby of the process, made at the first request."""
    state = request.app.state
    if not hasattr(state, "lobby"):
        state.lobby = Lobby(site)
    return state.lobby


LobbyDep = Annotated[Lobby, Depends(lobby_of)]
