"""Errors as the API answers them: one body for every route, status and code by the class of the error.

{"code": "invalid_request", "message": "width is 515: must be ...", "fields": [{"field": "width", "message": ...}],
 "retryable": false}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Self

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path

from sigmafarm.http.answers import Json
from sigmafarm_common.errors import (
    MAX_ERRORS,
    FieldError,
    InvalidRequest,
    NoKey,
    SigmafarmError,
    TooManyRequests,
    UnreadableInput,
)
from sigmafarm_common.validation import sentence

#: Seconds after which a client may come back when a service was away or busy.
COME_BACK_S = 1
#: What a Starlette error of a status is called, where no class of ours stands for it.
CODES: Mapping[int, str] = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}

#: Codes that OpenAI's clients know by another name.
OPENAI_CODES: Mapping[str, str] = {"unknown_model": "model_not_found", "no_key": "invalid_api_key"}
#: The header that says how a key is given.
CHALLENGE = "WWW-Authenticate"
#: What FastAPI says of a body that is not even text.
UNPARSED = "There was an error parsing the body"

_log = structlog.get_logger("sigmafarm.http")


class ProblemField(BaseModel):
    """One bad field: its name (in a submission: row.field), and a sentence with the value and the cure."""

    field: str
    message: str


class OpenAiError(BaseModel):
    """What OpenAI's clients read of an error, in an answer and in a stream."""

    message: str
    type: str
    param: str | None
    code: str

    @classmethod
    def of(cls, status: int, problem: Problem) -> Self:
        """Say an error as it is answered with a status."""
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        return cls(
            message=problem.message,
            type="server_error" if status >= 500 else kind,
            param=problem.fields[0].field if problem.fields else None,
            code=OPENAI_CODES.get(problem.code, problem.code),
        )


class Problem(BaseModel):
    """The body of every error."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "invalid_rows",
                    "message": "1 of 2 rows are bad, nothing was submitted ...",
                    "fields": [{"field": "2.width", "message": "width is 515: must be a multiple of 8 ..."}],
                    "retryable": False,
                }
            ]
        }
    )

    #: Short, stable, for programs.
    code: str = Field(examples=["not_found"])
    #: For people: what failed, the value, the cure.
    message: str
    fields: list[ProblemField] = []
    #: Whether the same request may succeed later without any change.
    retryable: bool = False
    #: The same for OpenAI's clients, which ask at other addresses of the farm too and read nothing else.
    error: OpenAiError | None = None


def problem_of(error: SigmafarmError) -> Problem:
    """Return the body for an error of the farm."""
    fields = [ProblemField(field=f.field, message=f.message) for f in error.fields]
    return Problem(code=error.code, message=str(error), fields=fields, retryable=error.retryable)


def add_handlers(app: FastAPI) -> None:
    """Let every error of every route leave with the one body."""
    app.add_exception_handler(SigmafarmError, _on_farm_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_fault)


def answer(request: Request, status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response: JSON, in the form of the path's interface; or a page where the site has one and a browser
    asks outside of the API."""
    site, path = request.app.state.site, request.url.path
    form = next((form for prefix, form in site.error_forms.items() if path.startswith(prefix)), None)
    is_person = "text/html" in request.headers.get("accept", "") and not path.startswith("/v1/")
    if form is not None:
        response = form(status, problem)
    elif site.error_page and is_person:
        response = site.error_page(request, status, problem)
    else:
        response = Json(problem.model_copy(update={"error": OpenAiError.of(status, problem)}).model_dump(), status)
    response.headers.update(headers or {})
    if CHALLENGE in response.headers:
        challenge = next((said for prefix, said in site.challenges.items() if path.startswith(prefix)), None)
        response.headers[CHALLENGE] = challenge or response.headers[CHALLENGE]
    return response


async def _on_farm_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SigmafarmError)
    return answer(request, error.http_status, problem_of(error), _headers_of(error))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = error.errors()
    fields = _bad_fields(details)
    bad = InvalidRequest(fields, num_more=len(details) - len(fields) if len(fields) > MAX_ERRORS else 0)
    return answer(request, bad.http_status, problem_of(bad))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, SigmafarmError):  # raised while the body was read
        return await _on_farm_error(request, error.__cause__)
    if error.detail == UNPARSED:
        bad = UnreadableInput("the body is no JSON in UTF-8: send one object")
        return answer(request, bad.http_status, problem_of(bad))
    code = CODES.get(error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request) or headers.get("Allow", "")
    problem = Problem(code=code, message=_http_message(request, error, headers.get("Allow", "")))
    return answer(request, error.status_code, problem, headers)


async def _on_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _on_fault(request: Request, error: Exception) -> Response:
    _log.error("request failed", method=request.method, route=_route_of(request), error=type(error).__name__)
    problem = Problem(code="internal", message="the server failed at this request: its log says more", retryable=False)
    return answer(request, 500, problem)


def _headers_of(error: SigmafarmError) -> dict[str, str]:
    if isinstance(error, NoKey):
        return {CHALLENGE: "Bearer"}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    return {"Retry-After": str(COME_BACK_S)} if error.retryable else {}


def _bad_fields(details: Sequence[Any]) -> list[FieldError]:
    """Return what is wrong, a field once each: as many as one error holds."""
    found: dict[str, FieldError] = {}
    for detail in details:
        if len(found) > MAX_ERRORS:
            break
        place = [str(part) for part in detail["loc"]]
        name = ".".join(place[1:]) or place[0]  # the first part says where: query, path, body
        found.setdefault(name, FieldError(name, _field_sentence(name, detail)))
    return list(found.values())


def _field_sentence(name: str, detail: Any) -> str:
    if detail["type"] == "json_invalid":
        return f"the body is no JSON ({detail.get('ctx', {}).get('error', detail['msg'])})"
    if detail["type"] == "extra_forbidden":
        return f"{name} is nothing that can be said here: leave it out"
    return sentence(name, detail)


def _allowed(request: Request) -> str:
    """Return the methods of a path, which several routes may share."""
    paths: Mapping[str, Mapping[str, Any]] = request.app.openapi()["paths"]
    found = [m.upper() for path, ms in paths.items() if compile_path(path)[0].match(request.url.path) for m in ms]
    return ", ".join(sorted(found))


def _http_message(request: Request, error: HTTPException, allowed: str) -> str:
    if error.status_code == 404:
        return "there is nothing at this address: /openapi.json lists what there is"
    if error.status_code == 405:
        return f"{request.method} cannot be done here: {allowed or 'another method'} can"
    if error.status_code == 413:
        return "the body is larger than what is taken here: send less at once"
    return str(error.detail)


def _route_of(request: Request) -> str:
    return getattr(request.scope.get("route"), "path", "")
