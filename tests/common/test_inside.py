"""What a picture was drawn with, as its file says it: read back whole, and bounded whoever wrote it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sigmafarm_common.inside import MAX_CALLS, MAX_CHUNKS, Inside, ReadPrompt, Token, rounded

READ = ReadPrompt(
    size=77, chunks=((Token(0, "<start>"), Token(5, "кот", 1.21), Token(1, "<end>")),), num_cut=2, cut="x"
)
KNOWN = Inside(sigmas=(None, 0.5), timesteps=(999.0, 10.25), prompt=READ)


def test_it_comes_back_from_json_that_other_readers_understand_too() -> None:
    text = json.dumps(KNOWN.said(), allow_nan=False)

    assert Inside.read(json.loads(text)) == KNOWN


@pytest.mark.parametrize(
    "changed",
    [
        {"sigmas": [0.5]},
        {"sigmas": "all"},
        {"sigmas": [1.0] * (MAX_CALLS + 1), "timesteps": [1.0] * (MAX_CALLS + 1)},
        {"prompt": {"size": 77, "chunks": [[]] * (MAX_CHUNKS + 1)}},
        {"prompt": {"size": 77, "chunks": [[[1, "a" * 10_000]]]}},
        {"prompt": None},
    ],
)
def test_what_does_not_fit_is_none(changed: dict[str, Any]) -> None:
    assert Inside.read({**KNOWN.said(), **changed}) is None
    assert Inside.read(None) is None


def test_numbers_keep_six_digits() -> None:
    assert rounded(14.61464119) == 14.6146
