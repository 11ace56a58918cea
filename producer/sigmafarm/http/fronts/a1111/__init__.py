"""AUTOMATIC1111's API in front of the queue: Open WebUI, SillyTavern, webuiapi."""

from __future__ import annotations

from fastapi import FastAPI

from sigmafarm.http.add_router import add_router
from sigmafarm.http.fronts.a1111 import lists, login, options, png_info, progress, txt2img
from sigmafarm.http.fronts.a1111.error_form import error_form


def add_routes(app: FastAPI) -> None:
    """Add the routes, and let their errors leave in AUTOMATIC1111's form."""
    for each in (txt2img, progress, options, lists, png_info, login):
        add_router(app, each.router)
    site = app.state.site
    for prefix in ("/sdapi/", login.PATH):
        site.error_forms[prefix] = error_form
        site.challenges[prefix] = 'Basic realm="sigmafarm", Bearer'
    site.guard.large_bodies |= {txt2img.UPLOAD, png_info.PATH}
    site.guard.prompt_bodies |= {txt2img.PATH, options.PATH}
