"""The callers that routes ask for: `caller: Reader` reads, `caller: Submitter` changes what is the owner's, and
`caller: Admin` the farm. Each refuses who may not; the last two refuse everything on a farm that is read-only.

For pages: `form_token` goes into every form as `csrf_token`, and `FormSubmitter` or `FormAdmin` in the place of the
other two checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from sigmafarm.http.guard.access_log import KEY_ID
from sigmafarm.http.guard.auth import COOKIE, Caller, check_scope
from sigmafarm.http.guard.crowd import Kind
from sigmafarm.http.guard.guard import Guard, GuardDep
from sigmafarm.http.guard.sessions import SESSION_S
from sigmafarm_common.errors import FarmUnavailable, NoKey, NotAllowed
from sigmafarm_common.keys import Scope

#: The field of a form, and the header of a script's request, that carry the token.
TOKEN_FIELD, TOKEN_HEADER = "csrf_token", "x-csrf-token"


async def caller_of(request: Request, guard: GuardDep) -> Caller:
    """Return who calls, whatever the scopes."""
    caller = await guard.gate.caller(request)
    if caller.key_id:
        request.scope[KEY_ID] = caller.key_id
    take_place(request, guard, caller)
    return caller


def take_place(request: Request, guard: Guard, caller: Caller) -> None:
    """Count a request among its caller's until it ends. Raises TooManyRequests."""
    guard.crowd.take(request, caller, Kind.REQUEST)
    if request.method == "POST" and request.url.path in guard.large_bodies:
        guard.crowd.take(request, caller, Kind.BODY)


AnyCaller = Annotated[Caller, Depends(caller_of)]


async def reader(caller: AnyCaller) -> Caller:
    check_scope(caller, Scope.READ)
    return caller


async def submitter(caller: AnyCaller, guard: GuardDep) -> Caller:
    check_writable(guard)
    check_scope(caller, Scope.SUBMIT)
    return caller


async def admin(caller: AnyCaller, guard: GuardDep) -> Caller:
    check_writable(guard)
    check_scope(caller, Scope.ADMIN)
    return caller


async def check_form(request: Request, guard: GuardDep, caller: AnyCaller) -> None:
    """Raise NotAllowed unless the form, or the script's request, carries the token of its session."""
    token = request.headers.get(TOKEN_HEADER)
    if token is None:
        said = (await request.form()).get(TOKEN_FIELD)
        token = said if isinstance(said, str) else ""
    if not guard.sessions.is_token(caller.nonce, token):
        await request.close()  # the form, and a file in it
        raise NotAllowed("this form is from an older page: load the page again, then send it")


Reader = Annotated[Caller, Depends(reader)]
Submitter = Annotated[Caller, Depends(submitter)]
Admin = Annotated[Caller, Depends(admin)]
#: What each asks for, for the description of the API.
SCOPES: Mapping[Callable[..., Any], Scope] = {reader: Scope.READ, submitter: Scope.SUBMIT, admin: Scope.ADMIN}


async def caller_if_known(request: Request, guard: GuardDep) -> Caller | None:
    """Return who calls, None for somebody without a key and while Redis is away: for pages that hold nothing of the
    farm's."""
    try:
        return await caller_of(request, guard)
    except (NoKey, NotAllowed, FarmUnavailable):
        return None


CallerIfKnown = Annotated[Caller | None, Depends(caller_if_known)]


async def form_submitter(caller: Submitter, _checked: Annotated[None, Depends(check_form)]) -> Caller:
    return caller


async def form_admin(caller: Admin, _checked: Annotated[None, Depends(check_form)]) -> Caller:
    return caller


FormSubmitter = Annotated[Caller, Depends(form_submitter)]
FormAdmin = Annotated[Caller, Depends(form_admin)]


def check_writable(guard: Guard) -> None:
    """Raise NotAllowed on a farm that is read-only."""
    if guard.config.read_only:
        raise NotAllowed("this farm is read-only here: unset SIGMAFARM_READ_ONLY where the API runs, or use another")


def form_token(guard: Guard, caller: Caller) -> str:
    """Return what a form for this caller carries as `csrf_token`."""
    return guard.sessions.token(caller.nonce)


def sign_in(request: Request, response: Response, guard: Guard, key_text: str) -> None:
    """Set the cookie of a session for a key that is shown whole. Raises NoKey. Asks the store: call it in a thread."""
    record = guard.gate.record_of(key_text.strip())
    is_https = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
    response.set_cookie(
        COOKIE, guard.sessions.issue(record.id), SESSION_S, httponly=True, samesite="strict", secure=is_https
    )


def sign_out(response: Response) -> None:
    """Remove the cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
