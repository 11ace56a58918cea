"""Where people on this machine find the dashboard: as a setting says it, or as the farm that runs here has left it.

`up` and `serve` write their address into the data folder and take it away when they end; one that was killed leaves it,
so an address counts only where something answers.
"""

from __future__ import annotations

import http.client
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from sigmafarm_common.config import Config
from sigmafarm_common.errors import StoreUnavailable

#: The file in the data folder.
API_URL_FILE = "api.url"
#: How long an address may take to answer.
ANSWER_LIMIT_S = 2.0


def tell_address(data_dir: Path, url: str) -> None:
    """Leave an address in a data folder that is there. One that cannot be written is not told."""
    with suppress(OSError):
        (data_dir / API_URL_FILE).write_text(url + "\n", encoding="utf-8")


def forget_address(data_dir: Path, url: str) -> None:
    """Take an address away, unless another has been left since. May be called again."""
    with suppress(OSError):
        if (data_dir / API_URL_FILE).read_text(encoding="utf-8").strip() == url:
            (data_dir / API_URL_FILE).unlink()


def find_address(config: Config) -> str:
    """Return the dashboard's address, without a slash at its end. Raises StoreUnavailable, with the cure, where no
    setting names one and none answers."""
    if config.dashboard_url:
        return config.dashboard_url.rstrip("/")
    usual = f"http://127.0.0.1:{config.http_port}"
    with suppress(OSError):
        told = (config.data_dir / API_URL_FILE).read_text(encoding="utf-8").strip()
        if _answers(told):
            return told
    if config.http_port and _answers(usual):
        return usual
    raise StoreUnavailable(
        f"no dashboard answers at {usual}, and none has left its address in {config.data_dir}: start one with "
        "`sigmafarm up` or `sigmafarm serve`, or name it with --url or SIGMAFARM_DASHBOARD_URL"
    )


def _answers(url: str) -> bool:
    """Whether something of the farm answers there."""
    try:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_LIMIT_S)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return False
