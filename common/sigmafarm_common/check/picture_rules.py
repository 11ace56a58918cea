"""What must hold between records and objects. Pure functions; the sweep asks the same ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sigmafarm_common.check.seen import JobSeen
from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.errors import REDRAW
from sigmafarm_common.objects.protocol import ObjectInfo
from sigmafarm_common.picture_keys import PictureKey, parsed
from sigmafarm_common.states import JobState
from sigmafarm_common.uploads.storing import UPLOAD_KEY

#: What S3Store.check leaves when it is cut off.
PROBE_KEY = re.compile(r"check-[0-9a-f]{32}")
#: The cure for pictures of a batch without records: it was accepted, and Redis has gone back behind that.
ADOPT = (
    "was its record lost, as by a restored backup? `sigmafarm adopt` makes it anew; only if nobody wants the picture: "
    "`sigmafarm sweep --delete` removes it"
)
SHA256 = re.compile(r"[0-9a-f]{64}")


def is_stray(job: JobSeen | None, key: str) -> bool:
    """Whether an object in a job's place is neither its picture nor that of the try that runs now."""
    if job is None or not job.fields:
        return True
    if job.state == JobState.SUCCEEDED and job.fields.get("image_key", "") in ("", key):
        return False  # without a key its record is spoiled, and the picture may be the one
    picture = parsed(key)
    return not (job.state == JobState.RUNNING and picture is not None and _is_of_its_try(picture, job))


def _is_of_its_try(picture: PictureKey, job: JobSeen) -> bool:
    token = job.fields.get("token", "")
    return picture in (PictureKey(job.batch_id, job.row, job.number("fence"), said) for said in (token, ""))


def record_violations(job: JobSeen) -> Iterator[Violation]:
    """Yield what a succeeded job's record says of its picture that cannot be."""
    if job.state != JobState.SUCCEEDED:
        return
    key, sha256 = job.fields.get("image_key", ""), job.fields.get("sha256", "")
    picture = parsed(key)
    if picture is None or not _is_of_its_try(picture, job) or job.number("fence") < 1:
        fence = f"{job.number('fence')}-{job.fields.get('token', '')}"
        said = f"has the picture {key!r}, and its row is {job.row} and its fence {fence}"
        yield _of(job, Rule.WRONG_PICTURE, f"{said}: a finish was accepted that should not have been; {REDRAW}")
    elif not SHA256.fullmatch(sha256) or job.number("size") < 1:
        said = f"records {job.number('size')} bytes with SHA-256 {sha256!r} for its picture"
        yield _of(job, Rule.WRONG_PICTURE, f"{said}: that is no picture; {REDRAW}")


def object_violations(job: JobSeen, found: ObjectInfo | None, sha256: str | None) -> Iterator[Violation]:
    """Yield how the object of a succeeded job differs from its record. `sha256` is None where nobody read the bytes."""
    key = job.fields.get("image_key", "")
    if found is None:
        yield _of(job, Rule.PICTURE_MISSING, f"has no picture any more, {key} is not in the object store: {REDRAW}")
    elif found.size_bytes != job.number("size"):
        said = f"recorded {job.number('size')} bytes for {key}, which has {found.size_bytes}"
        yield _of(job, Rule.PICTURE_SIZE, f"{said}: {REDRAW}")
    elif sha256 is not None and sha256 != job.fields.get("sha256"):
        said = f"recorded SHA-256 {job.fields.get('sha256')} for {key}, whose bytes have {sha256}"
        yield _of(job, Rule.PICTURE_SHA256, f"{said}: {REDRAW}")


def orphan(key: str, batch_id: str, why: str, *, cure: str = "") -> Violation:
    """Return the violation of an object that no record names."""
    cure = (
        cure or "`sigmafarm sweep --delete` removes it"
        if parsed(key) or PROBE_KEY.fullmatch(key) or UPLOAD_KEY.fullmatch(key)
        else "move it elsewhere"
    )
    return Violation(Rule.ORPHAN, key, f"object {key} {why}: {cure}", batch_id)


def half_written(key: str) -> Violation:
    """Return the violation of a file that a killed writer left in a folder."""
    said = f"{key} was left half written by a process that was killed: `sigmafarm sweep --delete` removes it"
    return Violation(Rule.ORPHAN, key, said)


def _of(job: JobSeen, rule: Rule, said: str) -> Violation:
    return Violation(rule, job.id, f"job {job.id} {said}", job.batch_id)
