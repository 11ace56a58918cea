"""The API's routes, one file a thing: `add_routes` puts them all on an application."""

from __future__ import annotations

from fastapi import FastAPI

from sigmafarm.http.routes import health
from sigmafarm_common.config import Config


def add_routes(app: FastAPI, config: Config) -> None:
    """Add every route of the API."""
    del config
    app.include_router(health.router)
