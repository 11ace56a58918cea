"""The description of the API at /openapi.json: what FastAPI writes, with what it cannot know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic.json_schema import models_json_schema

from sigmafarm.http.schemas import SubmissionShape

#: What holds for every route, by what it is about.
NOTES: Mapping[str, str] = {
    "Keys": (
        "on loopback none is needed until one was made (`sigmafarm keys add`); then every request sends "
        "`Authorization: Bearer sf_...`. A key has an owner and scopes (`submit`, `read`, `admin`); what belongs to "
        "other owners does not exist for it."
    ),
    "Errors": (
        "have one body on every route: `code`, `message` (what failed, the value, the cure), `fields`, `retryable`."
    ),
    "Lists": "come in pages: `next` is the cursor of the next one, null at the end.",
    "Polling": "is cheap: send the `ETag` of an answer as `If-None-Match`, and an unchanged one is a 304.",
    "Times": "are milliseconds since 1970 by the clock of the farm's Redis, 0 for not yet.",
}
FIRST = "Submit prompts by the thousand, follow and steer them, fetch the pictures."
DESCRIPTION = "\n".join((FIRST, "", *(f"- **{name}** {text}" for name, text in NOTES.items()), ""))
TAGS = [
    {"name": "batches", "description": "Submit, list and steer batches."},
    {"name": "jobs", "description": "Single jobs and their pictures."},
    {"name": "images", "description": "Pictures to draw from."},
    {"name": "events", "description": "What happens, as it happens (server-sent events)."},
    {"name": "farm", "description": "Workers, models and figures."},
    {"name": "health", "description": "For probes and scrapers."},
]
#: Paths that ask for no key.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
REF = "#/components/schemas/{model}"
#: The scope that a dependency of a route asks of its caller.
Scopes = Mapping[Callable[..., Any], str]


def describe(app: FastAPI, scopes: Scopes) -> None:
    """Let the application describe itself, with the scope that each route asks for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, scopes)
        return app.openapi_schema

    app.openapi = openapi


def _described(app: FastAPI, scopes: Scopes) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        tags=TAGS,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schema["servers"] = [{"url": "/", "description": "This farm."}]
    schema["info"]["contact"] = {"name": "Whoever runs this farm"}
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "sf_<id>_<secret>"}}
    _, said = models_json_schema([(SubmissionShape, "validation")], ref_template=REF)
    for name, each in said["$defs"].items():
        components.setdefault("schemas", {}).setdefault(name, each)
    needed = _scopes_by_operation(app, scopes)
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None) if path in OPEN_PATHS else None
            if path not in OPEN_PATHS:
                # {}: none is needed on a loopback without keys. Roles of a scheme without OAuth are OpenAPI 3.1's.
                operation["security"] = [{}, {"key": [needed[operation["operationId"]]]}]
    return schema


def _scopes_by_operation(app: FastAPI, scopes: Scopes) -> dict[str, str]:
    """Return the scope that each operation asks for, by the operation's name."""
    found: dict[str, str] = {}
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        if dependant is not None and (scope := _scope_in(dependant, scopes)):
            found[str(route.operation_id)] = str(scope)
    return found


def _scope_in(dependant: Any, scopes: Scopes) -> str:
    """Return the scope that a route's dependencies ask for, the first that is found; empty where none does."""
    below = (_scope_in(each, scopes) for each in dependant.dependencies)
    return scopes.get(dependant.call, "") or next(filter(None, below), "")
