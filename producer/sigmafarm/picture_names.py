"""What the files of a batch's pictures are called in a folder: by row, or by a column of the submitter's own.

Other people's text becomes a name that every file system takes. What two jobs have alike gets a number behind it, by
row, so that the same download gives the same names again, whatever is drawn by then.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import PurePosixPath

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Job
from sigmafarm_common.validation import shown

#: The longest name without its ending: file systems take 255 bytes.
MAX_STEM_BYTES = 150
#: Jobs that are looked at for a column before it is said that there is none.
NUM_LOOKED_AT = 500
_UNSAFE = re.compile(r"[^\w .,+=@()\[\]-]|[\x00-\x1f]")
#: Names that Windows keeps for devices.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)


def file_name(job: Job, stem: str = "") -> str:
    """Return the name of a job's picture in a folder, by its row unless a stem is said; empty if it has none."""
    return f"{stem or f'{job.row:06d}'}{PurePosixPath(job.image_key).suffix}" if job.image_key else ""


class PictureNames:
    """Names for all jobs of a batch, which come in row order."""

    def __init__(self, column: str = ""):
        """Without a column, names are rows."""
        self._column = column
        self._taken: set[str] = set()
        #: Jobs whose name got a number, since another has the same, and jobs that have no such column: named by row.
        self.num_doubled, self.num_without = 0, 0

    def of(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, str]]:
        """Yield each job with the name of its picture, empty if it has none. Raises InvalidRequest where the first jobs
        do not know the column."""
        if not self._column:
            yield from ((job, file_name(job)) for job in jobs)
            return
        rest = iter(jobs)
        first = list(islice(rest, NUM_LOOKED_AT))
        self._check(first)
        for job in chain(first, rest):
            yield job, file_name(job, self._stem(job))

    def _check(self, jobs: list[Job]) -> None:
        known = list(dict.fromkeys(name for job in jobs for name in job.request.columns or ()))
        if jobs and self._column not in known:
            have = (
                f"their columns are {', '.join(known)}" if known else "they have none: submit keeps id, label and x_..."
            )
            said = f"name_by is {shown(self._column)}: the jobs have no such column; {have}"
            raise InvalidRequest([FieldError("name_by", said)])

    def _stem(self, job: Job) -> str:
        text = (job.request.columns or {}).get(self._column, "")
        self.num_without += not text
        wanted = safe_stem(text) or f"{job.row:06d}"
        stem, number = wanted, 1
        while stem.casefold() in self._taken:  # for file systems that do not tell A from a
            number += 1
            stem = f"{wanted}-{number}"
        self._taken.add(stem.casefold())
        self.num_doubled += number > 1
        return stem


def safe_stem(text: str) -> str:
    """Return a text as the name of a file without its ending; empty where nothing of it can stand in one."""
    plain = _UNSAFE.sub("_", unicodedata.normalize("NFC", text)).strip(" .")
    while len(plain.encode("utf-8", "replace")) > MAX_STEM_BYTES:
        plain = plain[:-1]
    plain = plain.rstrip(" .")
    return f"_{plain}" if _DEVICES.match(plain) else plain
