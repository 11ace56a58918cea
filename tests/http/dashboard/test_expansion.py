"""Alternatives in prompts: what they stand for, how many, what cannot be read, and that no prompt costs too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmafarm.http.dashboard.expansion import MAX_DEPTH, MAX_GROUPS, parse
from sigmafarm_common.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("plain", ["plain"]),
        ("", [""]),
        ("{red|blue} {circle|square}", ["red circle", "red square", "blue circle", "blue square"]),
        ("a{|b}", ["a", "ab"]),
        ("{a|{b|c}d}", ["a", "bd", "cd"]),
        ("{no bar} stays", ["{no bar} stays"]),
        ("{a {b|c}}", ["{a b}", "{a c}"]),
        ("a|b", ["a|b"]),
        ("}{", ["}{"]),
        (r"\{a\|b\} \\ \n", [r"{a|b} \ \n"]),
        (r"{a\|b|c}", ["a|b", "c"]),
    ],
)
def test_a_prompt_stands_for_these(text: str, prompts: list[str]) -> None:
    template = parse(text)

    assert list(template.prompts()) == prompts
    assert template.num == len(prompts)


def test_a_group_that_is_never_closed_is_told_with_its_place() -> None:
    with pytest.raises(InvalidRequest, match=r"opens alternatives at character 3 and never closes them: add \}"):
        parse("a {red|blue")


def test_groups_have_limits() -> None:
    with pytest.raises(InvalidRequest, match=f"{MAX_DEPTH + 1} deep"):
        parse("{a|" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1))
    with pytest.raises(InvalidRequest, match=f"more than {MAX_GROUPS} groups"):
        parse("{a|b}" * (MAX_GROUPS + 1))


def test_counting_makes_no_prompt() -> None:
    assert parse("{a|b}" * MAX_GROUPS).num == 2**MAX_GROUPS  # which nobody lives to see made


@given(st.text(alphabet="{}|\\ab ", max_size=40))
def test_the_count_is_the_number_of_prompts(text: str) -> None:
    try:
        template = parse(text)
    except InvalidRequest:
        return
    if template.num <= 2000:
        assert len(list(template.prompts())) == template.num


@given(st.text(max_size=60))
def test_an_escaped_text_stands_for_itself(text: str) -> None:
    escaped = "".join("\\" + each if each in "{}|\\" else each for each in text)

    assert list(parse(escaped).prompts()) == [text]
