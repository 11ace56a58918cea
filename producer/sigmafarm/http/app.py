"""Puts the farm's HTTP side together: routes, errors, headers, and what runs beside them.

`create_app(config)` gives an ASGI application; `server.py` runs it. As every supervisor does, each API process runs a
keeper and a concluder: a farm whose workers are all away still takes back, dispatches and concludes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from anyio import to_thread
from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from sigmafarm.http import problems
from sigmafarm.http.dashboard import add_dashboard
from sigmafarm.http.fronts import a1111, openai
from sigmafarm.http.guard.access_log import AccessLog
from sigmafarm.http.guard.body_limit import BodyLimit
from sigmafarm.http.guard.callers import SCOPES
from sigmafarm.http.guard.crowd import CrowdControl
from sigmafarm.http.guard.head import HeadAsGet
from sigmafarm.http.guard.headers import SecurityHeaders
from sigmafarm.http.guard.trace_context import TraceContext
from sigmafarm.http.openapi import describe
from sigmafarm.http.routes import add_routes
from sigmafarm.http.routes.metrics import scraper
from sigmafarm.http.site import Site
from sigmafarm_common.celery_app import make_app, publisher
from sigmafarm_common.concluder import Concluder
from sigmafarm_common.config import Config
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.keys import Scope
from sigmafarm_common.loop import Loop
from sigmafarm_common.objects import open_objects
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.tracing import Tracing, traced

#: Requests that may wait for Redis or the object store at the same time.
NUM_THREADS = 64


#: Types that are sent as they are: what is compressed already, streams of events, and pages. A page holds what its
#: reader typed beside a secret (the token of its forms), and the length of both together, compressed, would tell of it.
NOT_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "text/html")


def create_app(config: Config, *, has_keeper: bool = True) -> FastAPI:
    """Return the application for a farm. Nothing is asked of its Redis before it serves.

    Raises StoreUnavailable where the settings name no farm.
    """
    site = Site(config)
    app = FastAPI(
        title="sigmafarm",
        version=version("sigmafarm"),
        summary="A render farm for Stable Diffusion: prompts go in by the thousand, pictures come out.",
        lifespan=_lifespan(site, has_keeper=has_keeper),
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # queries hold prompts
        docs_url=None,  # they would load scripts from another site; the dashboard has /docs
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.site, app.state.guard = site, site.guard
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5, exclude_content_types=NOT_COMPRESSED)
    app.add_middleware(HeadAsGet)  # around the one before: the head of what is compressed tells that length
    app.add_middleware(BodyLimit, guard=site.guard)
    app.add_middleware(CrowdControl, crowd=site.guard.crowd)
    app.add_middleware(SecurityHeaders)
    if site.tracing.is_on:
        app.add_middleware(TraceContext, tracing=site.tracing)
    app.add_middleware(AccessLog, clock=site.clock, note=site.durations.note)
    problems.add_handlers(app)
    add_routes(app)
    openai.add_routes(app)
    a1111.add_routes(app)
    describe(app, {**SCOPES, scraper: Scope.ADMIN})
    add_dashboard(app)
    return app


def _lifespan(site: Site, *, has_keeper: bool) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        to_thread.current_default_thread_limiter().total_tokens = NUM_THREADS
        loops = _loops(site.config, site.tracing) if has_keeper else []
        await site.feed.start()
        for loop in loops:
            loop.start()
        try:
            yield
        finally:
            site.feed.close_listeners()
            await to_thread.run_sync(_stop, site, loops)

    return lifespan


def _loops(config: Config, tracing: Tracing) -> list[Loop]:
    """Return the keeper and the concluder, on a store of their own with the patience of the settings."""
    store = RedisStore(config)
    keeper = Keeper(config, store, traced(publisher(make_app(config)), tracing, store.trace_of))
    return [keeper, Concluder(config, store, open_objects(config), keeper)]


def _stop(site: Site, loops: list[Loop]) -> None:
    for loop in reversed(loops):
        loop.stop()
    site.feed.stop()
    site.close()
