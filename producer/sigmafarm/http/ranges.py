"""Parts of files, by HTTP's Range: a download that broke goes on where it ended.

One range of bytes is served; what is no such range, or one of an older state of the file (If-Range), is answered with
the whole file, as RFC 9110 has it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from typing import Any, NamedTuple

from fastapi import Request
from starlette.exceptions import HTTPException

from sigmafarm.http.schemas import problems

#: How routes tell of it, for the documentation.
RANGES: dict[int | str, dict[str, Any]] = {206: {"description": "The part that Range asks for."}, **problems(416)}
_ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Span(NamedTuple):
    """The first and the last byte of a part, and how many the whole has."""

    first: int
    last: int
    size: int

    @property
    def headers(self) -> dict[str, str]:
        """What its answer says of it."""
        return {
            "Content-Range": f"bytes {self.first}-{self.last}/{self.size}",
            "Content-Length": str(self.last - self.first + 1),
        }


def wants_part(request: Request, tag: str) -> bool:
    """Whether a request asks for one part of what the tag stands for."""
    asked = _ONE_RANGE.fullmatch(_said(request))
    return asked is not None and asked.groups() != ("", "") and request.headers.get("if-range", tag).strip() == tag


def asked_span(request: Request, size: int, tag: str) -> Span | None:
    """Return the part of a file of `size` bytes that a request asks for; None for all of it. Raises HTTPException, with
    status 416, where the file has no such part."""
    asked = _ONE_RANGE.fullmatch(_said(request))
    if asked is None or not wants_part(request, tag):
        return None
    first, last = asked.groups()
    if not first:
        begin, end = max(0, size - int(last)), size - 1
    else:
        begin, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < begin:  # no range at all
            return None
    if begin >= size:
        message = f"Range is {_said(request)}: there are {size} bytes, the last is {size - 1}"
        raise HTTPException(416, message, {"Content-Range": f"bytes */{size}"})
    return Span(begin, end, size)


def cut(pieces: Iterator[bytes], span: Span) -> Generator[bytes]:
    """Yield a part of what comes in pieces, and close these with it."""
    at = 0
    with closing(pieces) if isinstance(pieces, Generator) else nullcontext():
        for piece in pieces:
            wanted = piece[max(0, span.first - at) : span.last + 1 - at]
            at += len(piece)
            if wanted:
                yield wanted
            if at > span.last:
                return


def _said(request: Request) -> str:
    return request.headers.get("range", "").strip().lower().replace(" ", "")
