"""Fields of settings: what surfaces learn of each kind, and values as text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from sigmafarm_common.setting_fields import About, FloatPair, Kind, Place, fields_of, text_of
from sigmafarm_common.settings import REQUEST_FIELDS, SETTING_FIELDS, Settings, job_settings_table
from sigmafarm_common.validation import field_errors

README = Path(__file__).parents[2] / "producer" / "README.md"


class Mood(StrEnum):
    CALM = "calm"
    WILD = "wild"


class Odd(BaseModel):
    """One setting of each kind."""

    whole: Annotated[Annotated[int, Field(ge=2, lt=10, multiple_of=2)] | None, Field(title="Whole thing")] = None
    open_end: Annotated[int | None, Field(ge=1, lt=2**63)] = None
    number: Annotated[float | None, Field(ge=0.5, le=2)] = None
    switch: bool | None = None
    choice: Annotated[Mood | None, About(aliases=("mood",), a1111="temper", in_text="", place=Place.SIDE)] = None
    pair: FloatPair | None = None
    text: Annotated[str | None, Field(description="Any."), About(unit="words")] = None


ODD = fields_of(Odd)


def test_each_kind_is_known_with_its_range():
    kinds = {name: (field.kind, field.range) for name, field in ODD.items()}

    assert kinds == {
        "whole": (Kind.WHOLE, "2 to 9, a multiple of 2"),
        "open_end": (Kind.WHOLE, "1 and up"),
        "number": (Kind.NUMBER, "0.5 to 2"),
        "switch": (Kind.SWITCH, ""),
        "choice": (Kind.CHOICE, "calm, wild"),
        "pair": (Kind.PAIR, ""),
        "text": (Kind.TEXT, ""),
    }


def test_names_are_the_fields_own_unless_it_says_others():
    plain, named = ODD["open_end"], ODD["choice"]

    assert (plain.label, plain.flags, plain.a1111, plain.in_text) == (
        "Open end",
        ("--open-end",),
        "open_end",
        "Open end",
    )
    assert (named.flags, named.a1111, named.in_text) == (("--choice", "--mood"), "temper", "")
    assert (ODD["whole"].label, ODD["text"].help) == ("Whole thing", "Any.")


def test_values_are_shown_to_people_with_their_unit():
    assert (ODD["switch"].shown(True), ODD["text"].shown("two"), ODD["number"].shown(1.0)) == ("yes", "two words", "1")


@pytest.mark.parametrize("said", ["0.2-5", "0.2,5.0", " 0.2 , 5 ", "2e-1-.5e1", ["0.2-5"], [0.2, 5], (0.2, 5)])
def test_a_pair_may_be_said_in_several_ways(said: Any):
    assert Odd.model_validate({"pair": said}).pair == (0.2, 5.0)


@pytest.mark.parametrize("said", ["0.2", "a-b", "1-2-3", "", "-1-2"])
def test_a_text_that_is_no_pair_is_refused_with_an_example(said: str):
    with pytest.raises(ValidationError) as caught:
        Odd.model_validate({"pair": said})

    assert [str(error) for error in field_errors(caught.value)] == [
        f"pair is {said!r}: must be two numbers, such as 0.2-5"
    ]


def test_a_type_that_no_surface_knows_is_refused_at_once():
    class Strange(BaseModel):
        things: set[int] | None = None

    with pytest.raises(AssertionError, match="things is a set"):
        fields_of(Strange)


NUMBERS = st.floats(0, 1e300, allow_subnormal=False)


@given(st.booleans() | st.sampled_from(Mood) | NUMBERS | st.integers() | st.tuples(NUMBERS, NUMBERS))
def test_a_value_as_text_gives_the_value_again(value: Any):
    kinds = {bool: "switch", float: "number", int: "any_whole", tuple: "pair", Mood: "choice"}

    class Wide(Odd):
        number: float | None = None
        any_whole: int | None = None

    read = Wide.model_validate({kinds[type(value)]: text_of(value)})

    assert getattr(read, kinds[type(value)]) == value


def test_no_name_means_two_settings():
    names = [name for field in REQUEST_FIELDS.values() for name in field.names]
    foreign = [field.a1111 for field in REQUEST_FIELDS.values()]
    in_text = [field.in_text for field in REQUEST_FIELDS.values() if field.in_text]

    assert len(names) == len(set(names))
    assert len(foreign) == len(set(foreign))
    assert len(in_text) == len(set(in_text))


def test_every_setting_says_what_it_is_called_and_for():
    assert all(info.title and info.description for info in Settings.model_fields.values())
    assert list(REQUEST_FIELDS) == [*SETTING_FIELDS, "prompt"]


def test_the_readmes_table_is_that_of_the_fields():
    text = README.read_text(encoding="utf-8")
    section = text.split("<!-- settings of a job -->")[1].split("<!-- /settings of a job -->")[0]

    assert section.strip() == job_settings_table(), "run `python -m sigmafarm_common.settings` and paste its table"
