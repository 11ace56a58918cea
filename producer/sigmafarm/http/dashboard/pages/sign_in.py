"""Signing in with a key, and out again."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from sigmafarm.http.dashboard.html import html
from sigmafarm.http.dashboard.visit import frame
from sigmafarm.http.guard import callers
from sigmafarm.http.guard.origin import check_same_site
from sigmafarm.http.site import SiteDep
from sigmafarm_common.errors import NoKey

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
async def sign_in_page(request: Request, site: SiteDep, next: str = "/") -> Response:  # noqa: A002
    if not await site.guard.gate.needs_key():
        return RedirectResponse(own_path(next), 303)
    return html("sign_in.html", **frame(request, site, None), next=own_path(next), error="")


@router.post("/sign-in")
async def sign_in(
    request: Request,
    site: SiteDep,
    key: Annotated[str, Form(max_length=500)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002
) -> Response:
    check_same_site(request, is_proof_needed=True)
    response = RedirectResponse(own_path(next), 303)
    try:
        await to_thread.run_sync(callers.sign_in, request, response, site.guard, key)
    except NoKey as error:
        return html("sign_in.html", 401, **frame(request, site, None), next=own_path(next), error=str(error))
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    check_same_site(request, is_proof_needed=True)
    response = RedirectResponse("/sign-in", 303)
    callers.sign_out(response)
    return response


def own_path(path: str) -> str:
    """Return the path if it is one of ours, else the first page: a link must not lead elsewhere after signing in."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/"
