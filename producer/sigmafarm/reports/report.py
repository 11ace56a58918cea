"""A report of a batch: counts, failures by reason with their rows, times, the settings in use, own columns.

Jobs are read a page at a time and only figures kept, so that a batch may have any number of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sigmafarm_common.records import Batch, Job
from sigmafarm_common.setting_fields import text_of
from sigmafarm_common.settings import LONG_TEXTS, SETTING_FIELDS
from sigmafarm_common.states import JobState

#: Rows that are named of a failure, values of a setting, and different values that are counted of one.
SHOWN_ROWS, SHOWN_VALUES, COUNTED_VALUES = 20, 5, 10_000
#: Settings that say nothing where each job has its own: their number of values is told.
_NOT_SHOWN = frozenset(LONG_TEXTS)


@dataclass(frozen=True)
class Spread:
    """How long something took, in seconds: the middle one, and what nine of ten stayed below. None of `num` zero."""

    num: int = 0
    median_s: float | None = None
    p90_s: float | None = None
    max_s: float | None = None

    @classmethod
    def of(cls, times_ms: Sequence[int]) -> Spread:
        """Return the spread of times in milliseconds, by nearest rank."""
        if not times_ms:
            return cls()
        ordered = sorted(times_ms)

        def at(percent: int) -> float:
            return ordered[max(0, -(-percent * len(ordered) // 100) - 1)] / 1000

        return cls(len(ordered), at(50), at(90), ordered[-1] / 1000)


@dataclass(frozen=True)
class FailedRow:
    """A job that failed: its row in the batch, its line of the file, and its own columns."""

    row: int
    line: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        """Name it as its submitter knows it: by id, else by line, else by row."""
        if name := self.columns.get("id"):
            return name
        return f"line {self.line}" if self.line else str(self.row)


@dataclass(frozen=True)
class Failure:
    """A reason why jobs failed: its code, how many there are, the first of them, and what the first one said."""

    code: str
    num: int
    rows: tuple[FailedRow, ...]
    error: str

    @property
    def which(self) -> str:
        """The first of them as their submitter knows them, and how many more there are."""
        names = Counter(map(str, self.rows))
        told = ", ".join(name if num == 1 else f"{name} x{num}" for name, num in names.items())
        more = self.num - len(self.rows)
        return f"{told} and {more} more" if more else told


@dataclass(frozen=True)
class Used:
    """The values of a setting or of a column: how many different ones, and the most frequent with their jobs."""

    num_values: int
    #: False where there are more different values than are counted.
    is_complete: bool
    most: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Report:
    """What became of a batch."""

    batch: Batch
    #: From its submission to its last end, or to now while it is open; seconds.
    took_s: float
    failures: tuple[Failure, ...]
    #: From submission to the start of the try that counts; from there to the encoded picture; encoding and upload. Of
    #: jobs that were drawn.
    wait: Spread
    draw: Spread
    upload: Spread
    settings: Mapping[str, Used]
    columns: Mapping[str, Used]
    #: Pictures by the worker that drew them.
    workers: Mapping[str, int]
    #: Tries that ended without a picture, over all jobs.
    num_lost_tries: int

    def to_json(self) -> dict[str, Any]:
        """Return it for programs, as plain JSON values."""
        made = asdict(self) | {"batch": self.batch.model_dump(mode="json")}
        made["batch"]["counts"]["total"] = self.batch.counts.total
        return json.loads(json.dumps(made))

    def html(self) -> str:
        """Return it as one page that needs nothing else: no script, no file from elsewhere."""
        from sigmafarm.reports.page import page_of  # brings jinja2: only when asked

        return page_of(self)


def make_report(batch: Batch, jobs: Iterable[Job], now_ms: int) -> Report:
    """Gather the report of a batch from its jobs."""
    gathered = _Gathered()
    for job in jobs:
        gathered.take(job)
    return Report(
        batch=batch,
        took_s=((batch.finished_ms or now_ms) - batch.created_ms) / 1000,
        failures=gathered.told_failures(),
        wait=Spread.of(gathered.wait_ms),
        draw=Spread.of(gathered.draw_ms),
        upload=Spread.of(gathered.upload_ms),
        settings={name: values.used() for name, values in gathered.settings.items()},
        columns={name: values.used() for name, values in gathered.columns.items()},
        workers=dict(gathered.workers.most_common()),
        num_lost_tries=gathered.num_lost_tries,
    )


class _Values:
    """Counts values, of a bounded number."""

    def __init__(self) -> None:
        self._num: Counter[str] = Counter()
        self._is_complete = True

    def add(self, text: str) -> None:
        if text in self._num or len(self._num) < COUNTED_VALUES:
            self._num[text] += 1
        else:
            self._is_complete = False

    def used(self) -> Used:
        return Used(len(self._num), self._is_complete, tuple(self._num.most_common(SHOWN_VALUES)))


class _Gathered:
    """What is known of the jobs that were taken in."""

    def __init__(self) -> None:
        self.wait_ms, self.draw_ms, self.upload_ms = list[int](), list[int](), list[int]()
        self.settings: dict[str, _Values] = {}
        self.columns: dict[str, _Values] = {}
        self.workers: Counter[str] = Counter()
        self.num_lost_tries = 0
        self._num_failed: Counter[str] = Counter()
        self._failed: dict[str, list[Job]] = {}

    def take(self, job: Job) -> None:
        self.num_lost_tries += len(job.history)
        for name in SETTING_FIELDS:
            value = getattr(job.request, name)
            if value is not None and name not in _NOT_SHOWN:
                self.settings.setdefault(name, _Values()).add(text_of(value))
        for name, text in (job.request.columns or {}).items():
            self.columns.setdefault(name, _Values()).add(text)
        if job.state is JobState.FAILED:
            self._num_failed[job.error_code] += 1
            first = self._failed.setdefault(job.error_code, [])
            if len(first) < SHOWN_ROWS:
                first.append(job)
        elif job.state is JobState.SUCCEEDED and not job.reused_from:
            self.workers[job.worker or "-"] += 1
            self._take_times(job)

    def told_failures(self) -> tuple[Failure, ...]:
        return tuple(
            Failure(code, num, tuple(_failed_row(job) for job in self._failed[code]), self._failed[code][0].error)
            for code, num in self._num_failed.most_common()
        )

    def _take_times(self, job: Job) -> None:
        if not job.started_ms or not job.finished_ms:  # adopted: nobody knows
            return
        self.wait_ms.append(max(0, job.started_ms - job.submitted_ms))
        self.draw_ms.append(max(0, job.finished_ms - job.started_ms - job.upload_ms))
        self.upload_ms.append(job.upload_ms)


def _failed_row(job: Job) -> FailedRow:
    return FailedRow(job.row, job.request.line, job.request.columns or {})
