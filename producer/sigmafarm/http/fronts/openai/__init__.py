"""OpenAI's Images API in front of the queue: openai-python, LiteLLM, LangChain, Open WebUI, LibreChat."""

from __future__ import annotations

from fastapi import FastAPI

from sigmafarm.http.add_router import add_router
from sigmafarm.http.fronts.openai import images, links, models
from sigmafarm.http.fronts.openai.error_form import error_form


def add_routes(app: FastAPI) -> None:
    """Add the routes, and let their errors leave in OpenAI's form."""
    for each in (images, links, models):
        add_router(app, each.router)
    site = app.state.site
    for path in (images.PATH, images.EDITS, images.VARIATIONS, links.PATH):
        site.error_forms[path] = error_form
    site.guard.large_bodies |= {images.EDITS, images.VARIATIONS}
    site.guard.prompt_bodies.add(images.PATH)
