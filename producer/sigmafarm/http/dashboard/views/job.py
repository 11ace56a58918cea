"""A job as pages show it: its tile in the grid, and all of it on its own page."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sigmafarm.http.dashboard import wording
from sigmafarm.http.film_strips import Frame
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState, Outcome
from sigmafarm_common.store.values import Preview

#: Characters of a prompt that a tile and a row of a table carry.
TILE_CHARS, ROW_CHARS = 160, 300


@dataclass(frozen=True)
class Tile:
    """One job in a grid or a table."""

    job: Job
    prompt: str
    #: The preview as a data: URL, empty for none.
    preview: str
    #: Steps done as far as anybody knows: a preview may be ahead of the record.
    step: int
    percent: int

    @property
    def is_open(self) -> bool:
        return not self.job.state.is_terminal


@dataclass(frozen=True)
class Span:
    """One part of a job's time."""

    name: str
    #: The state whose colour it has.
    look: str
    words: str
    #: Of the whole, in thousandths, for the bar.
    begin: int
    length: int


@dataclass(frozen=True)
class Try:
    """One try that ended without a picture."""

    number: int
    worker: str
    title: str
    error: str
    began: str
    took: str


def tile(job: Job, preview: Preview | None = None, *, num_chars: int = TILE_CHARS) -> Tile:
    """Return a job's tile, with its newest preview if it runs."""
    is_running = job.state is JobState.RUNNING
    shown = preview if is_running and preview is not None and preview.fence.number == job.fence else None
    step = max(job.step, shown.step if shown else 0) if is_running else job.step
    percent = 100 if job.state is JobState.SUCCEEDED else 100 * step // max(1, job.num_steps)
    return Tile(job, wording.shortened(job.request.prompt, num_chars), data_url(shown), step, min(100, percent))


def under_way(tiles: Sequence[Tile]) -> list[Tile]:
    """Return the tiles whose drawing has begun: a worker holds some jobs ready that have not. All, if none has."""
    begun = [tile for tile in tiles if tile.step or tile.preview]
    return begun or list(tiles)


def data_url(preview: Preview | Frame | None) -> str:
    """Return a preview as a URL that carries it: no request of its own, once a second, for each of many pictures."""
    return "data:image/webp;base64," + base64.b64encode(preview.webp).decode() if preview else ""


def strip_of(frames: Iterable[Frame]) -> list[tuple[int, str]]:
    """Return the frames of a film strip, each with its step, as URLs that carry them."""
    return [(frame.step, data_url(frame)) for frame in frames]


def spans_of(job: Job, now_ms: float) -> list[Span]:
    """Return how long a job waited, was drawn and stored; what is not over counts up to now."""
    if not job.submitted_ms:
        return []
    end = job.finished_ms or int(now_ms)
    started = job.started_ms if job.started_ms and job.state is not JobState.QUEUED else 0
    stored = max(started, end - job.upload_ms)
    parts = [("Waited", "queued", job.submitted_ms, min(started or end, end))]
    if started:
        parts.append(("Drawn", "running", started, stored))
    if started and job.upload_ms:
        parts.append(("Stored", "succeeded", stored, end))
    whole = max(1.0, end - job.submitted_ms)
    return [
        Span(
            name,
            look,
            wording.duration((last - first) / 1000),
            round(1000 * max(0, first - job.submitted_ms) / whole),
            max(4, round(1000 * max(0, last - first) / whole)),
        )
        for name, look, first, last in parts
    ]


def tries_of(job: Job) -> list[Try]:
    """Return the tries that ended without a picture, oldest first."""
    return [
        Try(
            number=number,
            worker=attempt.worker,
            title=OUTCOMES[attempt.outcome],
            error=attempt.error,
            began=wording.clock(attempt.started_ms),
            took=wording.duration((attempt.ended_ms - attempt.started_ms) / 1000) if attempt.ended_ms else "–",
        )
        for number, attempt in enumerate(job.history, start=1)
    ]


#: What ended a try, in words.
OUTCOMES = {
    Outcome.ERROR: "Error",
    Outcome.LOST: "Worker lost",
    Outcome.RELEASED: "Handed back",
    Outcome.CANCELLED: "Cancelled",
    Outcome.PAUSED: "Paused",
}


def ranges(rows: Iterable[int], *, gap: int = 40) -> list[tuple[int, int]]:
    """Return the spans, first and last row, that cover rows: neighbours less than a gap apart are read at once."""
    spans: list[tuple[int, int]] = []
    for row in sorted(set(rows)):
        if spans and row - spans[-1][1] <= gap:
            spans[-1] = (spans[-1][0], row)
        else:
            spans.append((row, row))
    return spans
