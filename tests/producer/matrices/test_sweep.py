"""Sweeps: what texts and lists say, and everything that can be wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from sigmafarm.matrices.sweep import MAX_AXES, MAX_VALUES, Sweep, text_of_axis
from sigmafarm_common.errors import InvalidRequest


def test_texts_and_lists_say_the_same() -> None:
    texts = Sweep.read_texts(["guidance=5,7.5, 10", "sampler=lms,Euler a", "seed=1..3"])
    lists = Sweep.read({"guidance_scale": [5, 7.5, 10], "sampler": ["lms", "euler_a"], "seed": range(1, 4)})

    assert texts == lists
    assert texts.num == 18
    assert list(texts.combinations())[:4] == [
        {"guidance_scale": 5.0, "sampler": "lms", "seed": 1},
        {"guidance_scale": 5.0, "sampler": "lms", "seed": 2},
        {"guidance_scale": 5.0, "sampler": "lms", "seed": 3},
        {"guidance_scale": 5.0, "sampler": "euler_a", "seed": 1},
    ]


@pytest.mark.parametrize("values", [["a, b", 'with "quotes"', "c"], [5, 7.5], [True, False], [[0.2, 5]]])
def test_an_axis_in_json_is_the_same_as_a_text(values: list[Any]) -> None:
    name = {str: "negative_prompt", int: "guidance_scale", bool: "karras_sigmas", list: "guidance_interval"}
    setting = name[type(values[0])]

    assert Sweep.read_texts([text_of_axis(setting, values)]) == Sweep.read({setting: values})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"nothing": [1]}, "names 'nothing', which is no setting of a job: settings are"),
        ({"cfg_scale": [1]}, r"names 'cfg_scale', which is no setting of a job: did you mean guidance_scale\?"),
        ({"seed": []}, "sweep of seed has no value: give some"),
        ({"seed": [1, 2, 1]}, "sweep of seed has '1' twice"),
        ({"seed": range(MAX_VALUES + 1)}, f"{MAX_VALUES} is the most"),
        ({"seed": "9..2"}, "must go up"),
        ({"width": [515]}, "sweep of width is 515: must be a multiple of 8"),
        ({"width": {"a": 1}}, "must be a list of values"),
        ({"steps": [1], "num_inference_steps": [2]}, "has num_inference_steps twice"),
        ({str(n): [n] for n in range(MAX_AXES + 1)}, f"{MAX_AXES} is the most"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_said(said: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Sweep.read(said)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidRequest) as raised:
        Sweep.read({"width": [515], "with": [1], "sampler": ["best"]})

    assert len(raised.value.fields) == 3


@pytest.mark.parametrize("texts", [["seed"], ["seed=1", "seed=2"]])
def test_a_text_that_is_no_axis_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="sweep"):
        Sweep.read_texts(texts)
