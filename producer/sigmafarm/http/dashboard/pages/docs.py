"""The reference of the API, made of its own description: no script and nothing of other sites, as our policy wants.

It shows what /openapi.json shows to everybody, so it asks for no key. Who may read gets commands with ids of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from sigmafarm.http.dashboard.html import Html, html
from sigmafarm.http.dashboard.views.api import api_view
from sigmafarm.http.dashboard.views.api_commands import command_of
from sigmafarm.http.dashboard.visit import frame
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import CallerIfKnown
from sigmafarm.http.openapi import FIRST, NOTES
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.errors import FarmUnavailable
from sigmafarm_common.keys import Scope
from sigmafarm_common.store.ids import job_id

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request, site: SiteDep, caller: CallerIfKnown) -> Html:
    api = api_view(request.app.openapi())
    ids = _own_ids(site, caller)
    base, has_key = str(request.base_url).rstrip("/"), caller is None or bool(caller.key_id)
    routes = [route for group in api.groups for route in group.routes]
    commands = {route.id: command_of(route, base, ids, has_key=has_key) for route in routes}
    about: dict[str, Any] = {"first": FIRST, "notes": NOTES, "has_ids": bool(ids), "has_key": has_key}
    return html("docs.html", **frame(request, site, caller), api=api, commands=commands, **about)


def _own_ids(site: Site, caller: Caller | None) -> Mapping[str, str]:
    """Return the newest batch that the caller sees, its first job and a worker; nothing where there is no such batch,
    or Redis is away."""
    if caller is None or not caller.may(Scope.READ):
        return {}
    try:
        batches = site.store.batches(owner=caller.sees_only, limit=1)
        workers = site.store.workers()
    except FarmUnavailable:
        return {}
    if not batches:
        return {}
    found = {"batch_id": batches[0].id, "job_id": job_id(batches[0].id, 0)}
    return {**found, "worker_id": workers[0].id} if workers else found
