"""Who calls: AUTOMATIC1111's clients know only HTTP's Basic, so a key may be its password (or its user name)."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request

from sigmafarm.http.guard.auth import SAFE_METHODS, Caller, check_scope
from sigmafarm.http.guard.callers import check_writable, take_place
from sigmafarm.http.guard.guard import Guard, GuardDep
from sigmafarm.http.guard.origin import check_same_site
from sigmafarm_common.keys import Scope, split_key

#: What the batches of this front are called, before the key that they came by.
NAME = "a1111"


async def caller_of(request: Request, guard: GuardDep) -> Caller:
    """Return who calls, whatever the scopes."""
    caller = await _find_caller(request, guard)
    take_place(request, guard, caller)
    return caller


async def _find_caller(request: Request, guard: Guard) -> Caller:
    key = _basic_key(request.headers.get("authorization", ""))
    if key is None:
        return await guard.gate.caller(request)
    if request.method not in SAFE_METHODS:
        check_same_site(request)  # a browser that knows a password sends it with pages of other sites too
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"authorization"]
    bearer = (b"authorization", b"Bearer " + key.encode())
    return await guard.gate.caller(Request({**request.scope, "headers": [*headers, bearer]}))


async def reader(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    check_scope(caller, Scope.READ)
    return caller


async def submitter(caller: Annotated[Caller, Depends(caller_of)], guard: GuardDep) -> Caller:
    check_writable(guard)
    check_scope(caller, Scope.SUBMIT)
    return caller


BasicReader = Annotated[Caller, Depends(reader)]
BasicSubmitter = Annotated[Caller, Depends(submitter)]


def batch_name(caller: Caller) -> str:
    """Return what this caller's batches are called: progress and interrupt are about those alone."""
    return f"{NAME} {caller.key_id}".rstrip()


def _basic_key(header: str) -> str | None:
    """Return the key in a Basic header, None where there is none that could be one."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return next((part for part in (password, user) if split_key(part)), None)
