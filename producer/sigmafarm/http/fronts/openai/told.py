"""What a picture tells beside what OpenAI's own pictures do: its warnings."""

from __future__ import annotations

from typing import Any

from sigmafarm_common.records import Job


def warnings_of(job: Job) -> dict[str, Any]:
    """Return the field with a picture's warnings, none where it has none."""
    return {"warnings": [each.model_dump() for each in job.warnings]} if job.warnings else {}
