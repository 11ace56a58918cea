"""Sentences for pydantic's findings that no record of ours brings about by itself."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError

from sigmafarm_common.validation import MAX_SHOWN_CHARS, field_errors, shown


class Strange(BaseModel):
    """Fields of kinds that the house's words do not cover."""

    ratio: float = Field(0.5, ge=0.25)
    share: float = Field(0.5, gt=0.25)
    tiles: int = Field(4, multiple_of=4)
    parts: list[int] = Field(default_factory=list[int], max_length=1)
    pair: tuple[int, int] = (1, 2)


def sentences(data: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Strange.model_validate(data)
    return [str(e) for e in field_errors(caught.value)]


def test_a_fraction_stays_a_fraction():
    assert sentences({"ratio": 0.1}) == ["ratio is 0.1: must be at least 0.25"]


def test_bounds_and_steps_are_told():
    assert sentences({"share": 0.25, "tiles": 6}) == [
        "share is 0.25: must be above 0.25",
        "tiles is 6: must be a multiple of 4",
    ]


def test_a_field_is_named_once_however_much_is_wrong_with_it():
    assert sentences({"pair": ("a", "b")}) == ["pair is 'a': must be a whole number"]


def test_what_has_no_words_of_ours_keeps_pydantics():
    (said,) = sentences({"parts": [1, 2]})

    assert said.startswith("parts is [1, 2]: list should have at most 1 item")


def test_data_that_is_no_mapping_is_called_the_request():
    (said,) = sentences("text")

    assert said.startswith("request is 'text': input should be a valid dictionary")


def test_shown_values_are_short_quoted_and_harmless():
    assert shown("a\n\x1b[2J") == r"'a\n\x1b[2J'"
    assert shown(7.5) == "7.5"
    assert shown("x" * 1000) == "'" + "x" * (MAX_SHOWN_CHARS - 1) + "..."
