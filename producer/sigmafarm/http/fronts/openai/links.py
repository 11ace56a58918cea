"""Links to pictures that a client can open without a key: a bucket's own, or ours with a signature. Both end soon."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sigmafarm.http.site import Site, SiteDep
from sigmafarm.http.stored_files import stored_file
from sigmafarm_common.errors import NotFound
from sigmafarm_common.records import Job

router = APIRouter(include_in_schema=False)

#: What the paths of links begin with.
PATH = "/v1/images/files/"
#: How long a link works.
LINK_S = 900


def link_to(request: Request, site: Site, job: Job) -> str:
    """Return a link to a drawn job's picture: ours where image_links says that the bucket's are not for clients."""
    link = site.farm.objects.url(job.image_key, LINK_S) if site.config.image_links else ""
    if link.startswith(("http://", "https://")):
        return link
    until = int(site.clock.wall_s()) + LINK_S
    name = job.id + PurePosixPath(job.image_key).suffix
    query = urlencode({"until": until, "token": _token(site, name, until)})
    return f"{_own_address(request)}{PATH}{name}?{query}"


@router.get(PATH + "{name}")
def get_file(
    request: Request, site: SiteDep, name: str, until: Annotated[int, Query(ge=0, le=10**12)], token: str
) -> Response:
    """Return a picture to whoever has its link."""
    is_ours = site.guard.sessions.is_token(_signed(name, until), token)
    if not is_ours or until < site.clock.wall_s():
        raise NotFound("this link is none, or over: ask for the picture again, or take it from /v1/jobs/{id}/image")
    job = site.store.job(name.partition(".")[0])
    if not job.image_key:
        raise NotFound(f"job {job.id} has no picture: it is {job.state}")
    headers = {"Cache-Control": f"private, max-age={LINK_S}, immutable"}
    return stored_file(request, site, job.image_key, size_bytes=job.size_bytes, sha256=job.sha256, headers=headers)


def _token(site: Site, name: str, until: int) -> str:
    return site.guard.sessions.token(_signed(name, until))


def _signed(name: str, until: int) -> str:
    """Return what a link's signature is of. No session's token is of such a text: those have no spaces."""
    return f"picture {name} {until}"


def _own_address(request: Request) -> str:
    """Return the address that the client called, behind a proxy that ends TLS too."""
    base = request.base_url
    is_https = "https" in (base.scheme, request.headers.get("x-forwarded-proto", ""))
    return str(base.replace(scheme="https" if is_https else "http")).rstrip("/")
