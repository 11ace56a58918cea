"""Live previews as pictures of the final size."""

from __future__ import annotations

import io

from PIL import Image

from sigmafarm_common.records import Job


def enlarge(webp: bytes, job: Job, form: str) -> bytes:
    """Return a preview as a file of its picture's size."""
    size = (job.request.width or 512, job.request.height or 512)
    file = io.BytesIO()
    with Image.open(io.BytesIO(webp)) as small:
        large = small.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    large.save(file, form.upper())
    return file.getvalue()
