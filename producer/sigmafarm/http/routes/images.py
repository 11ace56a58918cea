"""Pictures to draw from: sent, looked up, fetched. Each is its owner's alone."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sigmafarm.http.actions.images import image_of, store_file
from sigmafarm.http.answers import FOR_GOOD, Json
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Reader, Submitter
from sigmafarm.http.path_params import ImageId
from sigmafarm.http.ranges import RANGES
from sigmafarm.http.schemas import NOT_MODIFIED, UploadShape, problems
from sigmafarm.http.site import Site, SiteDep
from sigmafarm.http.stored_files import stored_file
from sigmafarm.shapes import upload_json
from sigmafarm_common.errors import FieldError, InvalidRequest, UnreadableInput

router = APIRouter(prefix="/v1/images", tags=["images"])

MULTIPART = "multipart/form-data"
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]}
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {MULTIPART: {"schema": _FORM}}}}


@router.post(
    "",
    operation_id="upload_image",
    status_code=201,
    response_model=UploadShape,
    responses={200: {"model": UploadShape, "description": "It was stored before."}, **problems(413, 415)},
    openapi_extra=_BODY,
)
async def upload_image(request: Request, site: SiteDep, caller: Submitter) -> Response:
    """Store a PNG, JPEG or WEBP to draw from: `init_image` and `mask_image` take the id of the answer.

    The id is the SHA-256 of the PNG that is stored. It is kept as long as a batch that uses it, and
    SIGMAFARM_UPLOAD_KEEP_S beside that. 201 for a new one, 200 for one that was stored before.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MULTIPART:
        raise HTTPException(415, f"the body's type is {kind[:60] or 'missing'}: must be {MULTIPART}")
    try:
        form = await request.form(max_files=1, max_fields=8)
    except HTTPException as error:
        raise UnreadableInput(f"the form cannot be read: {error.detail}") from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidRequest([FieldError("file", "file is missing: send the picture as a file of that name")])
        stored = await store_file(site, caller.owner, file)
    finally:
        await form.close()
    headers = {"Location": f"/v1/images/{stored.upload.name}"}
    return Json(upload_json(stored.upload), 201 if stored.is_new else 200, headers)


@router.get("/{image_id}", operation_id="get_upload", response_model=UploadShape, responses=problems(404))
def get_upload(site: SiteDep, caller: Reader, image_id: ImageId) -> Response:
    """Return what is known of a picture to draw from: its size, and which batches use it."""
    return Json(upload_json(image_of(site, caller, image_id)))


@router.get(
    "/{image_id}/file",
    operation_id="get_upload_file",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": _BINARY}}, "description": "The picture as it is stored."},
        **RANGES,
        **NOT_MODIFIED,
        **problems(404),
    },
)
async def get_upload_file(request: Request, site: SiteDep, caller: Reader, image_id: ImageId) -> Response:
    """Return a picture to draw from as it is stored: turned, of 8 bits, and nothing beside its pixels."""
    return await to_thread.run_sync(_file, request, site, caller, image_id, limiter=site.object_threads)


def _file(request: Request, site: Site, caller: Caller, image_id: str) -> Response:
    upload = image_of(site, caller, image_id)
    headers = {"Cache-Control": FOR_GOOD}
    return stored_file(request, site, upload.key, size_bytes=upload.size_bytes, sha256=upload.sha256, headers=headers)
