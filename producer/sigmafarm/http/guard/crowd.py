"""Who holds how many places: requests under way, streams among them, bodies being received; by owner and by key.

A place is taken once it is known who calls, and given back when the request ends, however it ends. Used in the event
loop only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum

from fastapi import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.places import Places, Share
from sigmafarm.http.problems import Problem, answer
from sigmafarm_common.errors import TooManyRequests

#: Where a request's scope holds the places that it has taken, and where its connection says that there was none left.
HELD, IS_GUEST = "sigmafarm.held", "sigmafarm.is_guest"
#: After how long it is worth another try.
RETRY_S = 5.0
#: The one address that is answered when every place is taken.
ALWAYS_ANSWERED = "/healthz"

#: What is said where there is no place.
NO_PLACE = (
    "every connection that this server holds is in use: come back later, or raise SIGMAFARM_MAX_CONNECTIONS and its "
    "limit of open files"
)

Place = tuple[str, str, str]


class Kind(StrEnum):
    """What a place is for."""

    #: Any request under way.
    REQUEST = "requests"
    #: One that goes on: events, or a client that waits for its pictures.
    STREAM = "streams"
    #: One whose body may be large.
    BODY = "submissions being received"


class Crowd:
    """The places of one process that are taken."""

    def __init__(self, places: Places):
        self._shares: Mapping[Kind, Share] = {
            Kind.REQUEST: places.requests,
            Kind.STREAM: places.streams,
            Kind.BODY: places.bodies,
        }
        self._taken: Counter[Place] = Counter()

    def take(self, request: Request, caller: Caller, kind: Kind) -> None:
        """Take a place until the request ends; once only for a kind. Raises TooManyRequests."""
        held: list[Place] = request.scope.setdefault(HELD, [])
        wanted = list(_places(kind, caller))
        if wanted[0] in held:
            return
        share = self._shares[kind]
        for place, most in zip(wanted, (share.total, share.owner, share.key), strict=False):
            if self._taken[place] >= most:
                raise TooManyRequests(_refusal(place, most), RETRY_S)
        self._taken.update(wanted)
        held += wanted

    def num(self, kind: Kind) -> int:
        """Return how many places of a kind are taken."""
        return self._taken[kind, "", ""]

    def give_back(self, held: list[Place]) -> None:
        """Give back what a request has taken."""
        self._taken.subtract(held)
        for place in held:
            if self._taken[place] <= 0:
                del self._taken[place]
        held.clear()


class CrowdControl:
    """ASGI middleware: gives the places of a request back at its end, and refuses one for which there is none."""

    def __init__(self, app: ASGIApp, crowd: Crowd):
        self._app, self._crowd = app, crowd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope.get("state", {}).get(IS_GUEST) and scope["path"] != ALWAYS_ANSWERED:
            await _refused(scope)(scope, receive, send)
            return
        held: list[Place] = scope.setdefault(HELD, [])
        try:
            await self._app(scope, receive, send)
        finally:
            self._crowd.give_back(held)


def _refused(scope: Scope) -> Response:
    problem = Problem(code="too_many_connections", message=NO_PLACE, retryable=True)
    headers = {"Retry-After": str(math.ceil(RETRY_S)), "Connection": "close"}
    return answer(Request(scope), 503, problem, headers)


def _places(kind: Kind, caller: Caller) -> Iterator[Place]:
    yield kind, "", ""
    yield kind, "owner", caller.owner
    if caller.key_id:
        yield kind, "key", caller.key_id


def _refusal(place: Place, most: int) -> str:
    kind, what, name = place
    whose = f"{what} {name} has" if what else "this server has"
    return f"{whose} {most} {kind} open, the most at once: end some, or come back later"
