"""`sigmafarm serve`: the API and the dashboard of the farm that the settings name."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmafarm.api_address import forget_address, tell_address
from sigmafarm.cli.output import config_of, say


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Where to listen; all but loopback needs keys")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 for any that is free")] = None,
    read_only: Annotated[bool | None, typer.Option("--read-only", help="Show everything, change nothing")] = None,
) -> None:
    """Serve the HTTP API and the dashboard until Ctrl-C."""
    from sigmafarm.http.server import HttpServer  # brings FastAPI and Celery: only when asked
    from sigmafarm_common import logs

    config = config_of(context, http_host=host, http_port=port, read_only=read_only)
    logs.set_up(config, process="api")
    server = HttpServer(config)
    url = server.url  # which a server that has ended does not know any more
    try:
        server.check()
        say(f"sigmafarm: the API and the dashboard are at {url}")
        tell_address(config.data_dir, url)
        server.run()
    finally:
        forget_address(config.data_dir, url)
        server.stop()
