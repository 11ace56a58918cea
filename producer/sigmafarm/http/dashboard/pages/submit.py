"""Submitting from a browser: the form, the number of jobs that it stands for, and the batch that it makes."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from sigmafarm.forecast import eta_words
from sigmafarm.http.actions import images
from sigmafarm.http.actions import submit as submission
from sigmafarm.http.dashboard.html import Html
from sigmafarm.http.dashboard.submission_form import (
    TEXT_FIELDS,
    FormErrors,
    SubmitForm,
    errors_of,
    form_of,
    form_saying,
    lost_file,
    merged,
)
from sigmafarm.http.dashboard.views.settings import blanks, inputs
from sigmafarm.http.dashboard.visit import Visit, Visiting
from sigmafarm.http.guard.callers import FormSubmitter, Reader
from sigmafarm.inputs import InputFormat
from sigmafarm.replay import read_picture
from sigmafarm_common.errors import InvalidInput, SigmafarmError, TooLarge, TooManyRequests, UnreadableInput
from sigmafarm_common.picture_settings import OF_A_MASK, OF_A_PICTURE
from sigmafarm_common.settings import PICTURE_FIELDS

router = APIRouter(include_in_schema=False)

#: Paths whose bodies may be as large as a submission.
LARGE_BODIES = frozenset({"/submit", "/submit/count", "/submit/picture"})


@router.get("/submit")
def submit_page(visit: Visiting, job: str = "") -> Html:
    """Show the form: empty, or filled with a job's settings to draw it again with changes."""
    form = form_of(visit.site.job_of(visit.caller, job)) if job else SubmitForm()
    return _page(visit, form, FormErrors(), again=job)


@router.post("/submit/picture")
async def fill_from_picture(request: Request, visit: Visiting, _caller: Reader) -> Html:
    """Show the form filled with what a picture's file says of itself. Nothing of the file is kept."""
    async with request.form(max_files=1, max_fields=8) as said:
        upload = said.get("picture")
        data = await upload.read() if isinstance(upload, UploadFile) else b""
    return await to_thread.run_sync(_fill, visit, data, limiter=visit.site.submit_threads)


@router.post("/submit/count")
async def count(request: Request, visit: Visiting, _caller: Reader) -> Html:
    """Say how many jobs the form stands for."""
    async with request.form() as said:
        form = await _form(said)
        given = [name for name in PICTURE_FIELDS if _text(said, f"{name}_is_given")]
    return await to_thread.run_sync(_count, visit, form, given, limiter=visit.site.submit_threads)


@router.post("/submit")
async def submit(request: Request, visit: Visiting, caller: FormSubmitter) -> Response:
    """Submit, and go on to the batch; or show the form again with all that is wrong."""
    async with request.form() as said:
        form, errors = await _store_pictures(visit, said, await _form(said), caller.owner)
    return await to_thread.run_sync(_submit, visit, form, caller.owner, errors, limiter=visit.site.submit_threads)


def _fill(visit: Visit, data: bytes) -> Html:
    try:
        read = read_picture(data)
    except UnreadableInput as error:
        return _page(visit, SubmitForm(), FormErrors(fields={"picture": str(error)}), status=422)
    return _page(visit, form_saying(read.settings), FormErrors(), notes=read.notes or ("All that it says is here.",))


def _count(visit: Visit, form: SubmitForm, given: list[str]) -> Html:
    """Say how many jobs, how long they take, and what is wrong, of what stands in the form now. The first jobs speak
    for all; a picture that was chosen is not sent, so what only a picture has use for is left aside with it."""
    site, most, num, errors = visit.site, visit.site.config.max_rows, 0, FormErrors()
    if given:
        of_pictures = dict.fromkeys((*OF_A_PICTURE, *OF_A_MASK), "")
        form = replace(form, values={**form.values, **of_pictures})
    with _collect_errors() as option_errors:
        form.options()
    with _collect_errors() as row_errors:
        num = form.count(site.config.wildcards, most) * max(1, _repeat(form))
    cost = 0.0
    if num and not (option_errors or row_errors):
        with _collect_errors() as row_errors:
            cost = submission.mean_cost(site, visit.caller.owner, form.rows(), form.options())
    for each in (*option_errors, *row_errors):
        errors = merged(errors, each)
    return visit.page(
        "parts/count.html",
        num=num,
        errors=errors,
        most=most,
        time=eta_words(site.forecaster.now().of_all(num * cost, num)) if cost else "",
        problems=errors.fields,
    )


async def _store_pictures(visit: Visit, said: FormData, form: SubmitForm, owner: str) -> tuple[SubmitForm, FormErrors]:
    """Store the pictures that were chosen, and return the form with their names, and what is wrong with them."""
    names, errors = dict[str, str](), FormErrors()
    for field in PICTURE_FIELDS:
        file = said.get(f"{field}_file")
        if isinstance(file, UploadFile) and file.size:
            try:
                names[field] = (await images.store_file(visit.site, owner, file)).upload.name
            except (InvalidInput, TooManyRequests) as error:
                errors = merged(errors, FormErrors(fields={field: _sentence(error)}))
    return replace(form, values={**form.values, **names}), errors


def _submit(visit: Visit, form: SubmitForm, owner: str, picture_errors: FormErrors) -> Response:
    site = visit.site
    if picture_errors:
        with _collect_errors() as found:
            form.options()
            form.count(site.config.wildcards, site.config.max_rows)
        return _again(visit, form, merged(picture_errors, found[0] if found else FormErrors()))
    with _collect_errors() as option_errors:
        options = form.options()
        with _collect_errors() as row_errors:
            batch = submission.submit(
                site, owner, form.rows(), options, form.value("key"), source=form.file_name if form.file else ""
            )
            return visit.see(f"/batches/{batch.id}", did="submitted", num=batch.counts.total)
        return _again(visit, form, row_errors[0])
    with _collect_errors() as row_errors:  # the options are bad; say what is wrong with the prompts too
        form.count(site.config.wildcards, site.config.max_rows)
    return _again(visit, form, merged(option_errors[0], row_errors[0] if row_errors else FormErrors()))


@contextmanager
def _collect_errors() -> Generator[list[FormErrors]]:
    """Catch what a person can mend in the form; everything else goes on to the page of errors."""
    found: list[FormErrors] = []
    try:
        yield found
    except InvalidInput as error:
        found.append(errors_of(error))
    except (TooLarge, TooManyRequests) as error:
        found.append(FormErrors(general=_sentence(error)))


def _again(visit: Visit, form: SubmitForm, errors: FormErrors) -> Html:
    if lost := lost_file(form):
        errors = merged(errors, FormErrors(fields={"file": lost}))
    return _page(visit, form.kept(), errors, status=422)


def _page(
    visit: Visit,
    form: SubmitForm,
    errors: FormErrors,
    *,
    status: int = 200,
    again: str = "",
    notes: tuple[str, ...] = (),
) -> Html:
    seen = visit.site.farm.seen_models()
    usual = visit.site.config.default_model or (seen[0].card.name if len(seen) == 1 else "")
    return visit.page(
        "submit.html",
        status,
        form=form,
        errors=errors,
        again=again,
        notes=notes,
        inputs=inputs(seen, form.value("model"), usual),
        usual=usual,
        blanks=blanks(seen),
        is_fresh=not (form.values or errors or again),
        formats=list(InputFormat),
        has_lists=visit.site.config.wildcards is not None,
        key=form.value("key") or secrets.token_hex(12),
        most=visit.site.config.max_rows,
        has_takers=any(worker.takes_jobs for worker in visit.site.store.workers()),
    )


async def _form(said: FormData) -> SubmitForm:
    upload = said.get("file")
    file = await upload.read() if isinstance(upload, UploadFile) else b""
    name = (upload.filename or "") if isinstance(upload, UploadFile) else ""
    texts = {field: _text(said, field) for field in TEXT_FIELDS}
    return SubmitForm(texts, _text(said, "alternatives") == "yes", name, file)


def _text(said: FormData, name: str) -> str:
    value: Any = said.get(name)
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def _repeat(form: SubmitForm) -> int:
    text = form.value("repeat").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _sentence(error: SigmafarmError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
