"""Errors as AUTOMATIC1111's clients read them: `detail` says it; the rest is there because it always is."""

from __future__ import annotations

from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.problems import Problem


def error_form(status: int, problem: Problem) -> Response:
    """Return the answer for an error of the farm. A model that is not there is a 404, as it is over there."""
    said = {"error": problem.code, "detail": problem.message, "body": "", "errors": problem.message}
    return Json(said, 404 if problem.code == "unknown_model" else status)
