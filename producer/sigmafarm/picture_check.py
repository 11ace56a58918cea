"""Checks a picture against the record of its job: whole, of the right size, self-describing, and a picture at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageStat, UnidentifiedImageError

from sigmafarm_common.records import Job

#: Below this spread of its values (standard deviation, of 255) a picture counts as one flat colour.
MIN_SPREAD = 1.0


def what_is_wrong(path: Path, job: Job) -> list[str]:
    """Return a sentence for everything that is not as the job's record says; none for a good picture."""
    try:
        data = path.read_bytes()
        with Image.open(path) as image:
            image.load()
    except (OSError, UnidentifiedImageError) as error:
        return [f"{path.name} does not decode: {error}"]
    return list(_faults(path.name, data, image, job))


def _faults(name: str, data: bytes, image: Image.Image, job: Job) -> Iterator[str]:
    request = job.request
    if hashlib.sha256(data).hexdigest() != job.sha256:
        yield f"{name} has another SHA-256 than its record"
    if image.size != (request.width, request.height):
        yield f"{name} is {image.size[0]}x{image.size[1]}, asked for was {request.width}x{request.height}"
    if max(ImageStat.Stat(image.convert("RGB")).stddev) < MIN_SPREAD:
        yield f"{name} is one flat colour"
    if image.format == "PNG":
        yield from _faults_of_text(name, image, job)


def _faults_of_text(name: str, image: Image.Image, job: Job) -> Iterator[str]:
    parameters = str(image.info.get("parameters", ""))
    if f"Seed: {job.request.seed}" not in parameters or job.request.prompt.split("\n")[0] not in parameters:
        yield f"{name} does not carry its parameters"
    try:
        settings = json.loads(str(image.info.get("sigmafarm", "")))
    except ValueError:
        yield f"{name} does not carry its settings as JSON"
        return
    if settings.get("seed") != job.request.seed:
        yield f"{name} carries the settings of another job"
