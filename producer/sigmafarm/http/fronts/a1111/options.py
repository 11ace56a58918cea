"""GET and POST /sdapi/v1/options: the one option that means something here is the checkpoint."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.a1111.basic_auth import BasicReader, BasicSubmitter
from sigmafarm.http.fronts.a1111.checkpoints import choose_model, current_model, model_named
from sigmafarm.http.fronts.bodies import parse_body
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.errors import FieldError, InvalidRequest

router = APIRouter(prefix="/sdapi/v1", include_in_schema=False)

#: The route of this file.
PATH = "/sdapi/v1/options"
#: Options that clients read, as they are here.
FIXED: dict[str, Any] = {
    "sd_checkpoint_hash": "",
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "samples_format": "png",
    "samples_save": True,
    "enable_pnginfo": True,
    "eta_noise_seed_delta": 0,
    "show_progress_every_n_steps": 1,
    "live_previews_enable": True,
}
CHECKPOINT = "sd_model_checkpoint"


@router.get("/options")
def get_options(site: SiteDep, caller: BasicReader) -> Response:
    """Return the options; the checkpoint is the caller's."""
    return Json({CHECKPOINT: current_model(site, caller) or "", **FIXED})


@router.post("/options")
async def set_options(request: Request, site: SiteDep, caller: BasicSubmitter) -> Response:
    """Choose the caller's checkpoint. All other options are taken and left aside."""
    body = await request.body()
    said = (await to_thread.run_sync(parse_body, body)).get(CHECKPOINT)
    if said:  # Open WebUI sends an empty one where nobody chose
        await to_thread.run_sync(_choose, site, caller, said)
    return Json(None)


def _choose(site: Site, caller: Caller, title: Any) -> None:
    if not isinstance(title, str):
        raise InvalidRequest([FieldError(CHECKPOINT, f"{CHECKPOINT} must be a text: the title of a model")])
    choose_model(site, caller, model_named(site, title))
