"""What must hold for uploaded pictures. Pure functions over UploadsSeen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sigmafarm_common.check.seen import number_in
from sigmafarm_common.check.spoiled import OUTSIDE
from sigmafarm_common.check.upload_reader import UploadSeen, UploadsSeen
from sigmafarm_common.check.violation import Rule, Violation
from sigmafarm_common.objects.protocol import ObjectInfo
from sigmafarm_common.picture_inputs import upload_name
from sigmafarm_common.uploads.storing import UPLOAD_KEY

#: The fields of a record that are whole numbers.
NUMBERS = ("size", "width", "height", "created", "linked")
#: The cure for a picture that is not there: its bytes heal the record that names them.
AGAIN = "upload the same file again, and it lies there as before"


def upload_violations(seen: UploadsSeen) -> Iterator[Violation]:
    """Yield where uploads and the batches that use them disagree."""
    for key in sorted(seen.deletions):
        if not UPLOAD_KEY.fullmatch(key):
            said = f"deletions names {key[:80]!r}, which is no key of an upload: it is left out, and nothing is removed"
            yield Violation(Rule.SPOILED, f"deletions {key[:80]}", said)
    held: Counter[str] = Counter()
    for upload in seen.uploads:
        yield from _use(upload)
        yield from _record(upload)
        held[upload.name[1]] += 0 if upload.is_linked else number_in(upload.fields, "size")
    for owner in sorted(set(held) | set(seen.sums)):
        if number_in(seen.sums, owner) != held[owner]:
            said = f"upload_bytes of {owner} is {seen.sums.get(owner, '0')[:60]}, and its uploads have {held[owner]}"
            cure = f"set it in Redis, HSET upload_bytes {owner} {held[owner]} behind the namespace"
            yield Violation(Rule.UPLOAD_SUMS, f"upload_bytes {owner}", f"{said}: {cure}")


def stored_violations(upload: UploadSeen, found: ObjectInfo | None, sha256: str | None) -> Iterator[Violation]:
    """Yield how the object of an upload differs from its record. `sha256` is None where nobody read the bytes."""
    size_bytes = number_in(upload.fields, "size")
    if found is None:
        yield _of(upload, Rule.UPLOAD_MISSING, f"is not in the object store ({upload.key}): {AGAIN}")
    elif found.size_bytes != size_bytes:
        said = f"has {found.size_bytes} bytes at {upload.key}, and {size_bytes} are recorded"
        yield _of(upload, Rule.UPLOAD_MISSING, f"{said}: {AGAIN}")
    elif sha256 not in (None, upload.name[0]):
        said = f"has bytes with SHA-256 {sha256} at {upload.key}"
        yield _of(upload, Rule.UPLOAD_MISSING, f"{said}: remove that object, then {AGAIN}")


def _use(upload: UploadSeen) -> Iterator[Violation]:
    users = upload.batches | upload.named_by
    if not upload.key:
        if users or upload.is_unused:
            said = f"has no record, and {', '.join(sorted(users)[:5]) or 'the list of unused ones'} names it"
            yield _of(upload, Rule.UPLOAD_USE, f"{said}: upload it again, else jobs that draw from it fail")
        return
    if odd := upload.batches ^ upload.named_by:
        said = f"and batch {min(odd)} do not name each other"
        command = "SREM" if min(odd) in upload.batches else "SADD"
        key = f"upload_batches:{':'.join(upload.name)}"
        cure = f"{command} {key} {min(odd)} behind the namespace in Redis"
        yield _of(upload, Rule.UPLOAD_USE, f"{said}: {cure}")
    elif upload.is_unused is bool(users):
        said = "waits to be removed, and is used" if users else "is used by nobody, and does not wait to be removed"
        yield _of(upload, Rule.UPLOAD_USE, f"{said}: upload the same file again")


def _record(upload: UploadSeen) -> Iterator[Violation]:
    for field in NUMBERS if upload.key else ():
        if not upload.fields.get(field, "").isdigit():
            said = f"has {field} {upload.fields.get(field, '')[:60]!r}, which is no number: {OUTSIDE}"
            yield _of(upload, Rule.SPOILED, said)


def _of(upload: UploadSeen, rule: Rule, said: str) -> Violation:
    sha256, owner = upload.name
    return Violation(rule, f"{sha256}:{owner}", f"upload {upload_name(sha256)} of owner {owner} {said}")
