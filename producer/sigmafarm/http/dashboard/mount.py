"""Puts the dashboard on an application: its pages, its static files, and how errors look to people."""

from __future__ import annotations

from fastapi import FastAPI

from sigmafarm.http.add_router import add_router
from sigmafarm.http.dashboard.pages import (
    again,
    batch,
    batches,
    choice,
    compare,
    docs,
    job,
    jobs,
    overview,
    sign_in,
    steer,
    submit,
    workers,
)
from sigmafarm.http.dashboard.pages import error_page as errors
from sigmafarm.http.dashboard.static_files import PREFIX, DatedFiles
from sigmafarm.http.site import Site

#: Every page's module; tests/browser looks over each address that one of them answers to.
PAGES = (overview, batches, batch, steer, choice, again, compare, jobs, job, workers, submit, sign_in, docs)


def add_dashboard(app: FastAPI) -> None:
    """Add every page. The application's site must be there already."""
    site: Site = app.state.site
    for each in PAGES:
        add_router(app, each.router)
    app.mount(PREFIX, DatedFiles(), name="static")
    site.guard.large_bodies |= submit.LARGE_BODIES
    site.error_page = errors.error_page
