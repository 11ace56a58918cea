"""What a job is drawn with becomes what its picture says of it: noise levels, timesteps, tokens."""

from __future__ import annotations

import math

from sigmafarm_common.inside import Inside, ReadPrompt, Token, rounded
from sigmafarm_worker.models.prompts import PromptEncoder
from sigmafarm_worker.models.reading import Tokens
from sigmafarm_worker.sampling.table import Table

#: Characters of a token's text, and of the words that were not drawn, which are kept.
SHOWN_CHARS = 300


def see_inside(prompts: PromptEncoder, table: Table, prompt: Tokens, negative: Tokens | None) -> Inside:
    """Return what a job is drawn with."""
    return Inside(
        sigmas=tuple(rounded(sigma) if math.isfinite(sigma) else None for sigma in table.sigmas.tolist()),
        timesteps=tuple(rounded(t) for t in table.rows[:, 0].tolist()),
        prompt=_read(prompts, prompt),
        negative_prompt=_read(prompts, negative) if negative else None,
    )


def _read(prompts: PromptEncoder, tokens: Tokens) -> ReadPrompt:
    size = prompts.num_tokens
    weights = tokens.weights or (1.0,) * len(tokens.ids)
    chunks = [
        tuple(
            Token(token, text[:SHOWN_CHARS], rounded(weight))
            for (token, text), weight in zip(
                prompts.spelled(tokens.ids[at : at + size]), weights[at : at + size], strict=False
            )
        )
        for at in range(0, len(tokens.ids), size)
    ]
    return ReadPrompt(size=size, chunks=tuple(chunks), num_cut=tokens.num_cut, cut=tokens.cut[:SHOWN_CHARS])
