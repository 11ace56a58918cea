"""`sigmafarm open`: the dashboard in a browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Annotated
from urllib.parse import quote

import typer

from sigmafarm.api_address import find_address
from sigmafarm.cli.output import Json, config_of, out, print_json, say


def open_page(
    context: typer.Context,
    thing: Annotated[str | None, typer.Argument(metavar="[BATCH | JOB]", help="Nothing for the whole farm")] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the dashboard is; unless said, where one runs here")
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the address; open nothing")] = False,
    is_json: Json = False,
) -> None:
    """Open the dashboard's page of the farm, of a batch or of a job in a browser, and print its address."""
    address = find_address(config_of(context, dashboard_url=url)) + _path(thing)
    is_opened = not only_print and _has_screen() and webbrowser.open(address)
    if is_json:
        print_json({"url": address, "is_opened": is_opened})
        return
    out().print(address, soft_wrap=True)
    if not (is_opened or only_print):
        say("there is no browser here: open the address in one")


def _path(thing: str | None) -> str:
    if thing is None:
        return "/"
    return f"/{'jobs' if '-' in thing else 'batches'}/{quote(thing, safe='')}"


def _has_screen() -> bool:
    """Whether a browser would have a window: one of the terminal would take that over."""
    named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return named or sys.platform in ("darwin", "win32")
