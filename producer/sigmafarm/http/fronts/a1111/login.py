"""GET /login_check: whether the caller is let in, which clients ask before they show anything."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.a1111.basic_auth import BasicReader

router = APIRouter(include_in_schema=False)

#: The route of this file, which lies beside the others' folder.
PATH = "/login_check"


@router.get(PATH)
async def check_login(caller: BasicReader) -> Response:
    """Say nothing: who may not come in has got a 401 by now."""
    del caller
    return Json(None)
