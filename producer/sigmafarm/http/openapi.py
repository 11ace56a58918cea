"""The description of the API at /openapi.json: what FastAPI writes, with what it cannot know."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from sigmafarm.http.schemas import SubmissionShape

DESCRIPTION = """\
Submit prompts by the thousand, follow and steer them, fetch the pictures.

- **Keys**: on loopback none is needed until one was made (`sigmafarm keys add`); then every request sends
  `Authorization: Bearer sf_...`. A key has an owner and scopes (`submit`, `read`, `admin`); what belongs to other
  owners does not exist for it.
- **Errors** have one body on every route: `code`, `message` (what failed, the value, the cure), `fields`, `retryable`.
- **Lists** come in pages: `next` is the cursor of the next one, null at the end.
- **Polling** is cheap: send the `ETag` of an answer as `If-None-Match`, and an unchanged one is a 304.
- **Times** are milliseconds since 1970 by the clock of the farm's Redis, 0 for not yet.
"""
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


def describe(app: FastAPI) -> None:
    """Let the application describe itself."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = openapi


def _described(app: FastAPI) -> dict[str, Any]:
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
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None) if path in OPEN_PATHS else None
            if path not in OPEN_PATHS:
                operation["security"] = [{}, {"key": []}]  # {}: none is needed on a loopback without keys
    return schema
