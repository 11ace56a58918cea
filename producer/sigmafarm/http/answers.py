"""JSON answers, with a tag that lets an unchanged one cost nothing."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fastapi import Request
from starlette.responses import Response

#: How long a client may keep a picture, which never changes: a job that has one is over for good.
FOR_GOOD = "private, max-age=86400, immutable"


class Json(Response):
    """JSON in UTF-8. What no encoding can hold, half of a surrogate pair, leaves as a question mark."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None):
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def tag_of(*parts: object) -> str:
    """Return an ETag for what an answer depends on. Weak: the same content, not the same bytes."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=9).hexdigest()
    return f'W/"{digest}"'


def unchanged(request: Request, tag: str) -> Response | None:
    """Return the 304 for a client that has what the tag stands for, else None."""
    held = request.headers.get("if-none-match", "")
    if held.strip() == "*" or any(_opaque(each) == _opaque(tag) for each in held.split(",")):
        return Response(status_code=304, headers={"ETag": tag})
    return None


def tagged(request: Request, content: Any, *about: object) -> Response:
    """Return JSON with the tag of its content (and of what else it depends on), or a 304."""
    body = Json(content)
    tag = tag_of(body.body, *about)
    body.headers["ETag"] = tag
    return unchanged(request, tag) or body


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/")
