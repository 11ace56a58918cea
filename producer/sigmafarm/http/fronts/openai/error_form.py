"""Errors as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}, and whether to try again.

Clients make classes of the status, and would send a 409, a 429 or a 5xx again unless `x-should-retry` says false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.problems import Problem

#: Statuses of ours that OpenAI gives another number, and the codes whose status differs from their class's.
STATUSES: Mapping[int, int] = {422: 400}
CODE_STATUSES: Mapping[str, int] = {"unknown_model": 404}
#: Codes that clients know by another name.
CODES: Mapping[str, str] = {"unknown_model": "model_not_found", "no_key": "invalid_api_key"}


def error_form(status: int, problem: Problem) -> Response:
    """Return the answer for an error of the farm."""
    said = STATUSES.get(CODE_STATUSES.get(problem.code, status), CODE_STATUSES.get(problem.code, status))
    headers = {"x-should-retry": "true" if problem.retryable else "false"}
    return Json({"error": error_body(said, problem)}, said, headers)


def error_body(status: int, problem: Problem) -> dict[str, Any]:
    """Return what stands under `error`, in an answer and in a stream."""
    return {
        "message": problem.message,
        "type": _type_of(status),
        "param": problem.fields[0].field if problem.fields else None,
        "code": CODES.get(problem.code, problem.code),
    }


def _type_of(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
