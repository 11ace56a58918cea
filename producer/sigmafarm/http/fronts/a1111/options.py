"""GET and POST /sdapi/v1/options: those that mean something here are kept for the caller, all others are left aside."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from sigmafarm.http.answers import Json
from sigmafarm.http.fronts.a1111.asked import FORMATS, OF_SETTINGS, SAMPLES_FORMAT
from sigmafarm.http.fronts.a1111.basic_auth import BasicReader, BasicSubmitter
from sigmafarm.http.fronts.a1111.checkpoints import current_model, model_named
from sigmafarm.http.fronts.a1111.choices import CHECKPOINT, choose, chosen
from sigmafarm.http.fronts.bodies import parse_body
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.settings import Settings
from sigmafarm_common.validation import shown

router = APIRouter(prefix="/sdapi/v1", include_in_schema=False)

#: The route of this file.
PATH = "/sdapi/v1/options"
#: Options that clients read, as they are here unless the caller chose otherwise.
FIXED: dict[str, Any] = {
    "sd_checkpoint_hash": "",
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    SAMPLES_FORMAT: "png",
    "samples_save": True,
    "enable_pnginfo": True,
    "eta_noise_seed_delta": 0,
    "show_progress_every_n_steps": 1,
    "live_previews_enable": True,
}


@router.get("/options")
def get_options(site: SiteDep, caller: BasicReader) -> Response:
    """Return the options; those that can be chosen are the caller's."""
    return Json({**FIXED, **chosen(site, caller), CHECKPOINT: current_model(site, caller) or ""})


@router.post("/options")
async def set_options(request: Request, site: SiteDep, caller: BasicSubmitter) -> Response:
    """Keep what a caller's later requests take where they say nothing: its checkpoint, the format of files, their
    quality, the layer of CLIP. All other options are taken and left aside."""
    body = await request.body()
    said = await to_thread.run_sync(parse_body, body)
    await to_thread.run_sync(_choose, site, caller, said)
    return Json(None)


def _choose(site: Site, caller: Caller, said: dict[str, Any]) -> None:
    kept: dict[str, Any] = {}
    if title := said.get(CHECKPOINT):  # Open WebUI sends an empty one where nobody chose
        if not isinstance(title, str):
            raise InvalidRequest([FieldError(CHECKPOINT, f"{CHECKPOINT} must be a text: the title of a model")])
        kept[CHECKPOINT] = model_named(site, title)
    if (form := said.get(SAMPLES_FORMAT)) is not None:
        if not isinstance(form, str) or form.lower() not in FORMATS:
            raise InvalidRequest(
                [FieldError(SAMPLES_FORMAT, f"{SAMPLES_FORMAT} is {shown(form)}: must be one of {', '.join(FORMATS)}")]
            )
        kept[SAMPLES_FORMAT] = form.lower()
    for name, field in OF_SETTINGS.items():
        if (value := said.get(name)) is not None:
            Settings.parse({field: value})
            kept[name] = value
    if kept:
        choose(site, caller, kept)
