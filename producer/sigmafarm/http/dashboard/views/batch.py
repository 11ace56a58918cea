"""A batch as pages show it: its mood, its bar, how far it is and how long it will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sigmafarm.forecast import Eta, eta_words
from sigmafarm.http.dashboard import wording
from sigmafarm.http.dashboard.views.bars import Bar, bar
from sigmafarm.http.dashboard.views.cures import cure_of
from sigmafarm_common.records import Batch, Job

#: What stands in place of the time that is left.
NOBODY = "no worker takes its jobs"


@dataclass(frozen=True)
class BatchView:
    """One batch, ready to be shown."""

    batch: Batch
    #: How it is to be called.
    title: str
    #: `drawing`, `waiting`, `paused`, `done`, `failures` or `cancelled`: what its badge says and looks like.
    mood: str
    bar: Bar
    percent: int
    #: When it will be done, or how long it took; empty where nobody knows.
    eta: str
    #: Why nothing of it is drawn though it waits, and the cure; empty where something is, or it only waits its turn.
    why: str
    age: str
    #: Jobs of it that have a picture, the first ones: what lists show of it.
    thumbs: tuple[str, ...] = ()


@dataclass(frozen=True)
class FailureGroup:
    """Failed jobs of one reason."""

    code: str
    title: str
    num: int
    #: What one of them said.
    example: str
    #: What may help where a retry cannot, in the words of a button; empty where a retry may do.
    cure: str = ""


def batch_view(batch: Batch, eta: Eta | None, now_ms: float, why: str = "", thumbs: Sequence[str] = ()) -> BatchView:
    """Return a batch as it stands, with when it will be done (None: nobody can say); one that waits for a reason
    (`why`) has no end that anybody could foretell."""
    counts = batch.counts
    return BatchView(
        batch=batch,
        title=wording.shortened(batch.title, 120) or batch.id,
        mood=mood_of(batch),
        bar=bar(counts),
        percent=counts.percent_done,
        eta=NOBODY if why and not batch.is_paused else eta_of(batch, eta),
        why=why,
        age=wording.age(batch.created_ms, now_ms),
        thumbs=tuple(thumbs),
    )


def mood_of(batch: Batch) -> str:
    """Return the one word that says where a batch stands."""
    counts = batch.counts
    if not counts.is_done:
        return "paused" if batch.is_paused else "drawing" if counts.running else "waiting"
    if counts.failed:
        return "failures"
    return "done" if counts.succeeded or not counts.total else "cancelled"


def eta_of(batch: Batch, eta: Eta | None) -> str:
    """Return in words how long a batch will take, or how long it took."""
    if batch.counts.is_done:
        return f"took {wording.duration((batch.finished_ms - batch.created_ms) / 1000)}" if batch.finished_ms else ""
    if batch.is_paused:
        return "paused"
    span = eta_words(eta)
    return f"{span} left" if span else ""


def failure_groups(failures: Mapping[str, int], some_failed: Sequence[Job]) -> list[FailureGroup]:
    """Return the failures by reason, most first, each with what a job of it said (if one is among those given)."""
    said: dict[str, Job] = {}
    for job in some_failed:
        said.setdefault(job.error_code, job)
    ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    return [_group(code, num, said.get(code)) for code, num in ordered if num > 0]


def _group(code: str, num: int, job: Job | None) -> FailureGroup:
    cure = cure_of(job) if job else None
    example = wording.shortened(job.error, 300) if job else ""
    return FailureGroup(code, wording.code(code), num, example, cure.words if cure else "")
