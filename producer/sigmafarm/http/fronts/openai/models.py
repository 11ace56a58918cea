"""GET /v1/models/{model}: one model as OpenAI's clients read it. The list is the farm's own route."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.openai.error_form import error_form
from sigmafarm.http.guard.callers import Reader
from sigmafarm.http.problems import problem_of
from sigmafarm.http.site import SiteDep
from sigmafarm.shapes import model_json, openai_model_json
from sigmafarm_common.errors import UnknownModel

router = APIRouter(include_in_schema=False)


@router.get("/v1/models/{name}")
def get_model(site: SiteDep, caller: Reader, name: str) -> Response:
    """Return a model, with what it fills into requests."""
    del caller
    models = site.farm.seen_models()
    seen = {alias: model for model in models for alias in model.card.aliases}
    seen |= {model.card.name: model for model in models}
    if name not in seen:
        error = UnknownModel(name, seen)
        return error_form(error.http_status, problem_of(error))
    return Json({**model_json(seen[name]), **openai_model_json(seen[name].card)})
