"""Answers that are a file of the object store: the whole, a part, or that the client has it."""

from __future__ import annotations

from collections.abc import Mapping
from mimetypes import guess_type

from fastapi import Request
from starlette.responses import Response

from sigmafarm.http.answers import unchanged
from sigmafarm.http.pieces import Pieces
from sigmafarm.http.ranges import asked_span, cut
from sigmafarm.http.site import Site


def stored_file(
    request: Request, site: Site, key: str, *, size_bytes: int, sha256: str, headers: Mapping[str, str]
) -> Response:
    """Return the answer to a request for a stored file, read piece by piece: 206 for a part, 304 for a client that has
    it. Raises NotFound or StorageUnavailable before anything is sent, HTTPException for a part that is none."""
    tag = f'"{sha256}"'
    if same := unchanged(request, tag):
        return same
    span = asked_span(request, size_bytes, tag)
    about = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Length": str(size_bytes), **headers}
    kind = guess_type(key)[0] or "application/octet-stream"
    pieces = site.farm.objects.stream(key)
    if span is None:
        return Pieces(pieces, site.object_threads, media_type=kind, headers=about)
    about |= span.headers
    return Pieces(cut(pieces, span), site.object_threads, media_type=kind, headers=about, status_code=206)
