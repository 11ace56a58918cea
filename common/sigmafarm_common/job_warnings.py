"""What a picture's owner should know of it although it was drawn: a code for programs, a sentence with the cure for
people.

A worker gives warnings with the picture; they stand in the job's record, are counted on its batch, and go wherever the
picture goes. Whatever a worker says, a job carries few of them, and short ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from sigmafarm_common.errors import cut

#: Warnings of one job, and characters of the sentence and of the code of each; what is more is left out.
MAX_WARNINGS, MAX_WARNING_CHARS, MAX_CODE_CHARS = 8, 600, 40


class WarningCode(StrEnum):
    """What a job is warned of."""

    #: Words of the prompt did not fit and were not drawn.
    PROMPT_CUT = "prompt_cut"
    #: The same of the negative prompt.
    NEGATIVE_PROMPT_CUT = "negative_prompt_cut"
    #: The latents left the range of the model's pictures: this one may be blotches.
    DIVERGED = "trajectory_diverged"
    #: They did so, and the picture was drawn again with a lower order than was asked for.
    LOWER_ORDER = "lower_order"
    #: The device had no memory to decode it whole: where its tiles overlap it may differ a little.
    TILED = "decoded_in_tiles"


class JobWarning(BaseModel):
    """One warning. The code is one of WarningCode, or one of a newer worker's."""

    model_config = ConfigDict(frozen=True)

    code: str
    #: What happened, the value, and the cure.
    text: str


def bounded(warnings: Iterable[JobWarning]) -> tuple[JobWarning, ...]:
    """Return as many warnings as a job carries, one of a code, each cut to its bounds."""
    kept: dict[str, JobWarning] = {}
    for each in warnings:
        code = each.code[:MAX_CODE_CHARS]
        if len(kept) < MAX_WARNINGS:
            kept.setdefault(code, JobWarning(code=code, text=_short(each.text)))
    return tuple(kept.values())


def _short(text: str) -> str:
    return text if len(text) <= MAX_WARNING_CHARS else cut(text, MAX_WARNING_CHARS - len("... (99999999 characters)"))
