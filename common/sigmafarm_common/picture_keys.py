"""Where a job's picture lies: batch, row, and the fence of the try that drew it, so that no two tries share a key.

    4kx0c2v9m3qz7wt/000017-f2-9c0b41de.png

A number may be given twice by records that went back in time; the token beside it is not. Keys of pictures drawn before
there were tokens have none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sigmafarm_common.settings import OutputFormat
from sigmafarm_common.store.ids import is_batch_id, split_job_id
from sigmafarm_common.store.values import Try

#: A picture's key: batch, row, number and token of the fence, format.
PICTURE_KEY = re.compile(r"([0-9a-z]+)/([0-9]{6,9})-f([0-9]{1,9})(?:-([0-9a-f]{1,16}))?\.[a-z]{3,4}")


@dataclass(frozen=True)
class PictureKey:
    """A picture's key, taken apart."""

    batch_id: str
    row: int
    number: int
    #: Empty in keys of before there were tokens.
    token: str


def parsed(key: str) -> PictureKey | None:
    """Return the parts of a picture's key, None for any other."""
    found = PICTURE_KEY.fullmatch(key)
    if found is None or not is_batch_id(found[1]):
        return None
    return PictureKey(found[1], int(found[2]), int(found[3]), found[4] or "")


def image_key(tried: Try, file_format: OutputFormat) -> str:
    """Return where the picture of a try lies."""
    place = split_job_id(tried.job_id)
    assert place is not None, f"{tried.job_id} is no job id"
    return f"{place[0]}/{place[1]:06d}-f{tried.fence}.{file_format.value}"
