"""Draws a picture again through the farm and compares: bytes, then pixels."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image, ImageChops, ImageStat

from sigmafarm.farm import Farm
from sigmafarm.replay.reading import ReadPicture, read_picture
from sigmafarm_common.errors import UnreadableInput
from sigmafarm_common.picture_text import is_whole
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState


@dataclass(frozen=True)
class Difference:
    """How two pictures differ. Of pixels that cannot be compared, for their sizes, nothing is said."""

    has_same_bytes: bool
    has_same_size: bool
    #: Of 255, over all channels.
    max_difference: int | None = None
    mean_difference: float | None = None

    @property
    def has_same_pixels(self) -> bool:
        return self.max_difference == 0


@dataclass(frozen=True)
class Replay:
    """What became of a picture that was drawn again."""

    job: Job
    read: ReadPicture
    #: None where no picture came of it.
    difference: Difference | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        difference = self.difference
        told = {**asdict(difference), "has_same_pixels": difference.has_same_pixels} if difference else None
        return {
            "job": self.job.id,
            "state": self.job.state,
            "source": self.read.source,
            "settings": self.job.request.said(),
            "difference": told,
            "notes": list(self.notes),
        }


def replay(farm: Farm, data: bytes, *, model: str | None = None, timeout_s: float | None = None) -> Replay:
    """Draw a picture again and compare. `model` draws in place of the one that the file names.

    Where the farm has no model of that name, its own default draws, and a note says so. Raises UnreadableInput,
    InvalidRows, FarmUnavailable."""
    read = read_picture(data)
    if not is_whole(data):
        raise UnreadableInput(
            "the picture cannot be decoded to its end, so that nothing could be compared: copy it anew"
        )
    said, notes = dict(read.settings), list(read.notes)
    known = {card.name for card in farm.models()}
    if model is not None:
        said["model"] = model
    elif said.get("model") and said["model"] not in known:
        notes.append(f"model {said.pop('model')!r} is not on this farm: its default draws; --model names another")
    if "seed" not in said:
        notes.append("the file names no seed: one was drawn, so that the pictures differ")
    batch = farm.submit([said], name="replay")
    batch.wait(timeout_s=timeout_s)
    (job,) = batch.jobs()
    if job.state is not JobState.SUCCEEDED:
        return Replay(job, read, None, tuple(notes))
    if read.fingerprint and job.fingerprint and read.fingerprint != job.fingerprint:
        notes.append(f"the model is another one: fingerprint {job.fingerprint}, the picture's is {read.fingerprint}")
    return Replay(job, read, compare(data, farm.objects.get(job.image_key)), tuple(notes))


def compare(first: bytes, second: bytes) -> Difference:
    """Return how two files of pictures differ."""
    if hashlib.sha256(first).digest() == hashlib.sha256(second).digest():
        return Difference(has_same_bytes=True, has_same_size=True, max_difference=0, mean_difference=0.0)
    with Image.open(io.BytesIO(first)) as one, Image.open(io.BytesIO(second)) as other:
        if one.size != other.size:
            return Difference(has_same_bytes=False, has_same_size=False)
        statistics = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB")))
    most = max(high for _, high in statistics.extrema)
    mean = sum(statistics.mean) / len(statistics.mean)
    return Difference(has_same_bytes=False, has_same_size=True, max_difference=int(most), mean_difference=mean)
