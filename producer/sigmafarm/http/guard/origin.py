"""Whether a request comes from our own pages: its Host, its Origin, and what the browser says of its site."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import Request

from sigmafarm_common.errors import NotAllowed
from sigmafarm_common.validation import shown

#: What Sec-Fetch-Site says of our own pages, and of an address that a person typed.
OWN_SITES = frozenset({"same-origin", "none"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(request: Request) -> None:
    """Raise NotAllowed unless the Host is loopback's: any other name may be a foreign page's that resolves to here."""
    if not is_loopback(_host_of("//" + request.headers.get("host", ""))):
        raise NotAllowed(
            f"the Host is {shown(request.headers.get('host', ''))}: without keys this farm answers to localhost and "
            "127.0.0.1 only; make a key with `sigmafarm keys add` to be called by other names"
        )


def check_same_site(request: Request, *, is_proof_needed: bool = False) -> None:
    """Raise NotAllowed for what another site's page sends. A program says nothing of its origin, and passes unless
    proof is needed, as it is for what a browser signs with its cookie."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    is_foreign = (origin is not None and not _is_own(origin, request)) or (site is not None and site not in OWN_SITES)
    if is_foreign or (is_proof_needed and origin is None and site is None):
        raise NotAllowed(f"this came from another site ({shown(origin or site or 'unknown')}): use the farm's own page")


def _is_own(origin: str, request: Request) -> bool:
    return origin.partition("://")[2] == request.headers.get("host", "")


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
