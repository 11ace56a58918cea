"""Alternatives in prompts: what they stand for, how many, what cannot be read, and that no prompt costs too much."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmafarm.matrices.templates import MAX_DEPTH, MAX_GROUPS, Template, parse
from sigmafarm_common.errors import InvalidRequest


def prompts_of(template: Template) -> list[str]:
    return [pick.prompt for pick in template.picks(Random("0"))]


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
        ("{red|blue}:{ rose| sea}!", ["red rose!", "blue sea!"]),
        ("{a|b}:{c|d}:{e|f}", ["ace", "bdf"]),
        ("({a|b}:{1.1|0.9})", ["(a:1.1)", "(a:0.9)", "(b:1.1)", "(b:0.9)"]),
        (r"{a|b}\:{c|d}", ["a:c", "a:d", "b:c", "b:d"]),
        ("{a|b}:{c}", ["a:{c}", "b:{c}"]),
        ("{2::a}", ["{2::a}"]),
        ("__animal__", ["__animal__"]),
    ],
)
def test_a_prompt_stands_for_these(text: str, prompts: list[str]) -> None:
    template = parse(text)

    assert prompts_of(template) == prompts
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


@given(st.text(alphabet="{}|\\ab:12. ", max_size=40))
def test_the_count_is_the_number_of_prompts(text: str) -> None:
    try:
        template = parse(text)
    except InvalidRequest:
        return
    if template.num <= 2000:
        assert len(prompts_of(template)) == template.num


@given(st.text(max_size=60))
def test_an_escaped_text_stands_for_itself(text: str) -> None:
    escaped = "".join("\\" + each if each in "{}|\\:_" else each for each in text)

    assert prompts_of(parse(escaped)) == [text]


def test_a_group_with_weights_is_drawn_by_them_and_the_same_again() -> None:
    template = parse("{3::red|blue|0::green}")
    drawn = [pick.prompt for pick in template.draws(4000, Random("7"))]

    num = Counter(drawn)
    assert template.num == 1
    assert set(num) == {"red", "blue"}
    assert 0.70 < num["red"] / 4000 < 0.80
    assert drawn == [pick.prompt for pick in template.draws(4000, Random("7"))]
    assert drawn != [pick.prompt for pick in template.draws(4000, Random("8"))]


def test_what_is_walked_stands_beside_what_is_drawn() -> None:
    template = parse("{a|b} {1::c|1::d}")

    assert template.num == 2
    assert [text[0] for text in prompts_of(template)] == ["a", "b"]


def test_a_pick_says_what_was_taken_in_each_group() -> None:
    (_, pick) = parse("{a|b{c|d}} and {e|f}").draws(2, Random("x"))

    assert list(pick.taken) == ["choice", "choice 2"]
    assert pick.prompt == f"{pick.taken['choice']} and {pick.taken['choice 2']}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{a|b}:{c|d|e}", "2 alternatives at character 1 and 3 behind the colon"),
        ("{2::a|b}:{3::c|d}", "weights on both sides"),
        ("{0::a|0::b}", "no weight above 0"),
    ],
)
def test_groups_that_cannot_be_meant_are_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        parse(text)
