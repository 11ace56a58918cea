"""Scripts, styles and icons, under an address that changes with their content: a browser keeps them for good.

`/static/<digest>/js/main.js` is immutable, and so is what a script or a style there names beside itself. An older
digest, on a page that was open while the farm was updated, gives the file as it is now, and so does none; both are
asked for again each time.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

#: Where they lie, and where they are served.
STATIC, PREFIX = Path(__file__).parent / "static", "/static"
#: How long a browser may keep a file that never changes: a year, the longest that means anything.
FOR_GOOD = "public, max-age=31536000, immutable"
_DIGEST = re.compile(r"([0-9a-f]{16})/(.+)")


@cache
def digest() -> str:
    """Return what the address of all files holds: a digest of their names and contents."""
    made = hashlib.blake2b(digest_size=8)
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            made.update(f"{path.relative_to(STATIC).as_posix()}\0{path.stat().st_size}\0".encode())
            made.update(path.read_bytes())
    return made.hexdigest()


def static_url(path: str) -> str:
    """Return the address of a file, for templates."""
    return f"{PREFIX}/{digest()}/{path}"


class DatedFiles(StaticFiles):
    """The files, with or without a digest before their path."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        dated = _DIGEST.fullmatch(path)
        response = await super().get_response(dated[2] if dated else path, scope)
        is_current = dated is not None and dated[1] == digest()
        response.headers["Cache-Control"] = FOR_GOOD if is_current and response.status_code < 400 else "no-cache"
        return response
