"""What routes need: the farm, the settings, who may call, the feed of events. One Site a process, found by injection.

`SiteDep` is for every route; `Reader`, `Submitter` and `Admin` (callers.py) say who calls, and refuse who may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from sigmafarm.farm import Farm
from sigmafarm.http.auth import Gate
from sigmafarm.http.feed import Feed
from sigmafarm.http.problems import Problem
from sigmafarm.http.sessions import Sessions
from sigmafarm.http.store import open_store
from sigmafarm_common.config import Config

#: Draws an error as a page for people: the status, the headers and the body that a program would get.
ErrorPage = Callable[[Request, int, Problem], Response]


class Site:
    """The parts of one API process. Nothing is asked of Redis before the first request, or `start`."""

    def __init__(self, config: Config):
        self.config = config
        self.store = open_store(config)
        self.farm = Farm(config, store=self.store)
        self.sessions = Sessions.of(config.data_dir)
        self.gate = Gate(config, self.store, self.sessions)
        self.feed = Feed(config)
        #: How errors look to browsers outside of /v1; None: as to programs.
        self.error_page: ErrorPage | None = None

    def close(self) -> None:
        """Let go of the connections."""
        self.farm.close()


def site_of(request: Request) -> Site:
    """Return the site that a request came to."""
    return request.app.state.site


SiteDep = Annotated[Site, Depends(site_of)]
