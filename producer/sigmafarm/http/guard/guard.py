"""What stands between a request and the farm, as one thing: who may come in, and how much is held for whom."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from sigmafarm.http.guard.auth import Gate
from sigmafarm.http.guard.crowd import Crowd
from sigmafarm.http.guard.places import Places, raise_file_limit
from sigmafarm.http.guard.sessions import Sessions
from sigmafarm_common.clock import Clock
from sigmafarm_common.config import Config
from sigmafarm_common.store.protocol import KeySide


class Guard:
    """The guard of one API process. One a process, found by injection: `guard: GuardDep`."""

    def __init__(self, config: Config, store: KeySide, clock: Clock):
        self.config, self.clock = config, clock
        self.sessions = Sessions.of(config.data_dir, clock)
        self.gate = Gate(config, store, self.sessions, clock)
        self.places = Places.of(config, raise_file_limit())
        self.crowd = Crowd(self.places)
        #: Paths whose bodies may have max_body_bytes, and those whose bodies hold a prompt; all others are small.
        self.large_bodies: set[str] = {"/v1/batches", "/v1/plan", "/v1/images"}
        self.prompt_bodies: set[str] = set()


async def guard_of(request: Request) -> Guard:
    """Return the guard of the application that a request came to."""
    return request.app.state.guard


GuardDep = Annotated[Guard, Depends(guard_of)]
