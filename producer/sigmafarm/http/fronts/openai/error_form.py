"""Errors as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}, and whether to try again.

Clients make classes of the status, and would send a 409, a 429 or a 5xx again unless `x-should-retry` says false.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.problems import OpenAiError, Problem

#: Statuses of ours that OpenAI gives another number, and the codes whose status differs from their class's.
STATUSES: Mapping[int, int] = {422: 400}
CODE_STATUSES: Mapping[str, int] = {"unknown_model": 404}


def error_form(status: int, problem: Problem) -> Response:
    """Return the answer for an error of the farm."""
    said = STATUSES.get(CODE_STATUSES.get(problem.code, status), CODE_STATUSES.get(problem.code, status))
    headers = {"x-should-retry": "true" if problem.retryable else "false"}
    return Json({"error": OpenAiError.of(said, problem).model_dump()}, said, headers)
