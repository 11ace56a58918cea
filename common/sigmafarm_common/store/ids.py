"""The names of batches and jobs: made here, ordered by time, safe in URLs, file names and Redis keys."""

from __future__ import annotations

import re
import secrets
import time

#: Crockford's base 32: no letters that look like digits.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: A batch: 9 characters of milliseconds (until the year 3084), 6 of chance.
TIME_CHARS, CHANCE_CHARS = 9, 6
BATCH_ID = re.compile(rf"^[{ALPHABET}]{{{TIME_CHARS + CHANCE_CHARS}}}$")
JOB_ID = re.compile(rf"^([{ALPHABET}]{{{TIME_CHARS + CHANCE_CHARS}}})-(\d{{6,}})$")


def new_batch_id() -> str:
    """Return a new batch id; later ones sort behind earlier ones, to the millisecond of this machine's clock."""
    number, chars = time.time_ns() // 1_000_000, ""
    for _ in range(TIME_CHARS):
        number, digit = divmod(number, 32)
        chars = ALPHABET[digit] + chars
    return chars + "".join(secrets.choice(ALPHABET) for _ in range(CHANCE_CHARS))


def job_id(batch_id: str, row: int) -> str:
    """Return the id of a batch's job: the batch and the row, from 0."""
    return f"{batch_id}-{row:06d}"


def split_job_id(text: str) -> tuple[str, int] | None:
    """Return a job id's batch and row, or None for a text that is no job id."""
    match = JOB_ID.match(text)
    return (match[1], int(match[2])) if match else None
