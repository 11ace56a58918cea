"""What a request for edits says: a form with files, or JSON with the pictures as data URLs.

Several pictures are drawn on one by one, each `n` times; a mask is the first one's, and transparent where that is to be
drawn anew, as OpenAI has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from anyio import to_thread
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from sigmafarm.http.actions.images import store_picture
from sigmafarm.http.fronts.bodies import check_fields, parse_body
from sigmafarm.http.fronts.openai.asked import Edit
from sigmafarm.http.fronts.picture_texts import read_base64
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.errors import FieldError, InvalidPicture, InvalidRequest, TooLarge, UnreadableInput

#: The most pictures of one request: OpenAI's bound.
MAX_PICTURES = 16
#: The most pictures of one answer.
MAX_DRAWN = 32
#: The most fields of a form that are texts.
MAX_TEXTS = 64
MULTIPART = "multipart/form-data"
#: What a form calls its pictures, and JSON their list; what both call the mask.
IN_FORM, IN_JSON, MASK = ("image", "image[]"), "images", "mask"


class Sent(NamedTuple):
    """A request as it came."""

    said: dict[str, Any]
    pictures: list[bytes]
    mask: bytes | None


async def read_sent(request: Request) -> Sent:
    """Return a request, checked as far as it can be before its pictures are looked at. Raises InvalidRequest."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    sent = await (_read_form(request) if kind == MULTIPART else _read_json(request))
    if not sent.pictures:
        raise _bad(f"image is missing: send a file of that name, or {IN_JSON} in JSON")
    if len(sent.pictures) > MAX_PICTURES:
        raise _bad(f"image is there {len(sent.pictures)} times: at most {MAX_PICTURES} at once")
    num = check_fields(Edit, {**sent.said, "pictures": []}).num * len(sent.pictures)
    if num > MAX_DRAWN:
        raise _bad(f"n times the pictures is {num}: at most {MAX_DRAWN} at once; submit more to /v1/batches", "n")
    return sent


async def store_sent(site: Site, caller: Caller, sent: Sent) -> Edit:
    """Store a request's pictures for the caller's owner and return what it asks for. Raises InvalidRequest,
    QuotaExceeded, StorageUnavailable."""
    names = await _store(site, caller, sent.pictures, "image")
    masks = await _store(site, caller, [sent.mask] if sent.mask is not None else [], MASK)
    return check_fields(Edit, {**sent.said, "pictures": names, "mask_picture": masks[0] if masks else None})


async def _store(site: Site, caller: Caller, pictures: Sequence[bytes], field: str) -> list[str]:
    names: list[str] = []
    for data in pictures:
        try:
            stored = await to_thread.run_sync(store_picture, site, caller.owner, data, limiter=site.picture_threads)
        except (InvalidPicture, TooLarge) as error:
            raise _bad(f"{field}: {error}", field) from None
        names.append(stored.upload.name)
    return names


async def _read_form(request: Request) -> Sent:
    try:
        form = await request.form(max_files=MAX_PICTURES + 1, max_fields=MAX_TEXTS)
    except HTTPException as error:
        raise UnreadableInput(f"the form cannot be read: {error.detail}") from None
    try:
        said, pictures, mask = dict[str, Any](), list[bytes](), None
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                said[name] = value
            elif name == MASK:
                mask = await value.read()
            elif name in IN_FORM:
                pictures.append(await value.read())
        return Sent(said, pictures, mask)
    finally:
        await form.close()


async def _read_json(request: Request) -> Sent:
    said = await to_thread.run_sync(parse_body, await request.body())
    listed = said.pop(IN_JSON, None) or []
    mask = said.pop(MASK, None)
    if not isinstance(listed, list):
        raise _bad(f"{IN_JSON} is no list: give it objects with an image_url")
    pictures = [await to_thread.run_sync(_read_reference, each, IN_JSON) for each in listed[: MAX_PICTURES + 1]]
    return Sent(said, pictures, None if mask is None else await to_thread.run_sync(_read_reference, mask, MASK))


def _read_reference(value: Any, field: str) -> bytes:
    """Return the bytes of {"image_url": "data:..."}. Nothing is fetched from anywhere."""
    url = value.get("image_url") if isinstance(value, dict) else value
    if not isinstance(url, str) or not url.startswith("data:"):
        raise _bad(f"{field}: a picture must be a data URL (image_url), or a file in a form: nothing is fetched", field)
    return read_base64(url, field)


def _bad(message: str, field: str = "image") -> InvalidRequest:
    return InvalidRequest([FieldError(field, message)])
