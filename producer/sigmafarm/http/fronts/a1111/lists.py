"""The lists that clients fill their menus with: models and samplers, and what is empty here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.a1111.basic_auth import BasicReader
from sigmafarm.http.fronts.a1111.checkpoints import checkpoint
from sigmafarm.http.fronts.a1111.samplers import list_samplers, list_schedulers
from sigmafarm.http.site import SiteDep

router = APIRouter(prefix="/sdapi/v1", include_in_schema=False)

#: What is the same for everybody, by its path.
LISTS: Mapping[str, Any] = {
    "samplers": list_samplers(),
    "schedulers": list_schedulers(),
    "scripts": {"txt2img": [], "img2img": []},
    "embeddings": {"loaded": {}, "skipped": {}},
    "cmd-flags": {},
    "memory": {"ram": {}, "cuda": {}},
    **{
        name: []
        for name in (
            "upscalers",
            "latent-upscale-modes",
            "sd-vae",
            "loras",
            "hypernetworks",
            "face-restorers",
            "realesrgan-models",
            "prompt-styles",
            "script-info",
            "extensions",
        )
    },
}
#: Orders to read folders again: nothing here needs them.
REFRESHES = ("refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings")


@router.get("/sd-models")
def list_checkpoints(site: SiteDep, caller: BasicReader) -> Response:
    """List the models."""
    del caller
    return Json([checkpoint(card) for card in site.farm.models()])


def _add_list(name: str, content: Any) -> None:
    @router.get(f"/{name}")
    async def get_list(caller: BasicReader) -> Response:
        del caller
        return Json(content)


def _add_refresh(name: str) -> None:
    @router.post(f"/{name}")
    async def refresh(caller: BasicReader) -> Response:
        del caller
        return Json(None)


for _name, _content in LISTS.items():
    _add_list(_name, _content)
for _name in REFRESHES:
    _add_refresh(_name)
