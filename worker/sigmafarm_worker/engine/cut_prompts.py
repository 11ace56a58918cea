"""The warnings of a job whose prompts were too long: which words were not drawn, and what to do."""

from __future__ import annotations

from sigmafarm_common.job_warnings import JobWarning, WarningCode
from sigmafarm_common.wording import numbered
from sigmafarm_worker.models.reading import Tokens

#: Characters of the words that were not drawn which a warning spells out.
SHOWN_CHARS = 300


def tell_cuts(prompt: Tokens, negative: Tokens | None) -> tuple[JobWarning, ...]:
    """Return a warning for each of a job's prompts that was cut."""
    told = ((prompt, WarningCode.PROMPT_CUT, "prompt"), (negative, WarningCode.NEGATIVE_PROMPT_CUT, "negative prompt"))
    return tuple(_cut(tokens, code, name) for tokens, code, name in told if tokens and tokens.num_cut)


def _cut(tokens: Tokens, code: WarningCode, name: str) -> JobWarning:
    dropped = tokens.cut if len(tokens.cut) <= SHOWN_CHARS else tokens.cut[: SHOWN_CHARS - 3] + "..."
    cure = "shorten it, or say prompt_syntax = a1111, which draws long prompts in parts"
    what = f"the last {numbered(tokens.num_cut, 'token')} of the {name} did not fit and were not drawn"
    return JobWarning(code=code, text=f"{what}: {cure}. Left out: {dropped}")
