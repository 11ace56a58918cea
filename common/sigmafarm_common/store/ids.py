"""The names of batches and jobs: made here, ordered by time, safe in URLs, file names and Redis keys."""

from __future__ import annotations

import re
import secrets
import time

#: Crockford's base 32: no letters that look like digits.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: A batch: 9 characters of milliseconds (until the year 3084), 6 of chance.
TIME_CHARS, CHANCE_CHARS = 9, 6
BATCH_ID = re.compile(rf"[{ALPHABET}]{{{TIME_CHARS + CHANCE_CHARS}}}")
JOB_ID = re.compile(rf"([{ALPHABET}]{{{TIME_CHARS + CHANCE_CHARS}}})-([0-9]{{6,9}})")
#: An event: milliseconds and a number, the number left out, or only what is new.
EVENT_ID = re.compile(r"\$|[0-9]{1,18}(-[0-9]{1,18})?")


def new_batch_id() -> str:
    """Return a new batch id; later ones sort behind earlier ones, to the millisecond of this machine's clock."""
    number, chars = time.time_ns() // 1_000_000, ""
    for _ in range(TIME_CHARS):
        number, digit = divmod(number, 32)
        chars = ALPHABET[digit] + chars
    return chars + "".join(secrets.choice(ALPHABET) for _ in range(CHANCE_CHARS))


def new_token() -> str:
    """Return what tells one claim from every other, even from one of the same number in records that went back."""
    return secrets.token_hex(4)


def time_ms_of(batch_id: str) -> int:
    """Return when a batch id was made, in milliseconds since 1970."""
    ms = 0
    for char in batch_id[:TIME_CHARS]:
        ms = 32 * ms + ALPHABET.index(char)
    return ms


def job_id(batch_id: str, row: int) -> str:
    """Return the id of a batch's job: the batch and the row, from 0."""
    return f"{batch_id}-{row:06d}"


def is_batch_id(text: str) -> bool:
    """Whether a text has the form of a batch id: anything else must not become part of a Redis key."""
    return BATCH_ID.fullmatch(text) is not None


def split_job_id(text: str) -> tuple[str, int] | None:
    """Return a job id's batch and row, or None for a text that is no job id. Each job has one id: no spare zeros."""
    match = JOB_ID.fullmatch(text)
    place = (match[1], int(match[2])) if match else None
    return place if place and job_id(*place) == text else None
