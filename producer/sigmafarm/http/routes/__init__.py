"""The API's routes, one file a thing: `add_routes` puts them all on an application."""

from __future__ import annotations

from fastapi import FastAPI

from sigmafarm.http.add_router import add_router
from sigmafarm.http.routes import (
    batches,
    events,
    farm,
    health,
    images,
    jobs,
    metrics,
    pictures,
    searches,
    sheets,
    steering,
    submit,
)


def add_routes(app: FastAPI) -> None:
    """Add every route of the API."""
    for each in (submit, batches, steering, searches, jobs, pictures, images, sheets, events, farm, health, metrics):
        add_router(app, each.router)
