"""A picture says what it was drawn with: the sigmas and timesteps of its sampler, the tokens of its prompts."""

from __future__ import annotations

import numpy as np
import pytest

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.midway import Midway


def request(**said) -> RenderRequest:
    return RenderRequest.parse({"prompt": "ab", "num_inference_steps": 5, "seed": 1, **said})


@pytest.fixture
def inside_of(model, run):
    def inside_of(**said):
        engine, pixels = Engine(model), np.zeros((64, 64, 3), np.uint8) if "start_step" in said else None
        future = engine.submit(request(height=64, width=64, **said), init_image=pixels)
        run(engine)
        return future.result(0).inside

    return inside_of


@pytest.mark.parametrize(("sampler", "karras"), [("lms", False), ("euler", True), ("heun", False)])
def test_the_noise_levels_are_those_of_the_samplers_table(sampler, karras, model, inside_of):
    table = find_table(sampler, 5, model.scheduler, karras_sigmas=karras)

    found = inside_of(sampler=sampler, karras_sigmas=karras)

    np.testing.assert_allclose(found.sigmas, table.sigmas, rtol=1e-5)
    np.testing.assert_allclose(found.timesteps, table.rows[:, 0], rtol=1e-5)


def test_a_start_step_leaves_out_the_levels_before_it(model, inside_of):
    table = find_table("lms", 5, model.scheduler, Midway(2))

    found = inside_of(start_step=2, init_image="sha256:" + "0" * 64)

    assert len(found.sigmas) == 3
    np.testing.assert_allclose(found.sigmas, table.sigmas, rtol=1e-5)


def test_tokens_are_told_up_to_the_end_token_with_their_text(inside_of):
    found = inside_of(negative_prompt="b")

    (chunk,) = found.prompt.chunks
    assert found.prompt.size == 77
    assert [token.id for token in (chunk[0], chunk[-1])] == [512, 513]
    assert "".join(token.text for token in chunk[1:-1]) == "ab"
    assert [token.text for token in found.negative_prompt.chunks[0][1:-1]] == ["b"]


def test_what_was_cut_and_what_words_weigh_is_told(inside_of):
    cut = inside_of(prompt="a " * 80)
    weighed = inside_of(prompt="a (b:1.5) BREAK a", prompt_syntax="a1111", guidance_scale=1)

    assert (cut.prompt.num_cut, cut.prompt.cut) == (5, "a a a a a")
    assert len(cut.prompt.chunks[0]) == 77
    assert [[t.weight for t in chunk if t.text == "b"] for chunk in weighed.prompt.chunks] == [[1.5], []]
    assert weighed.negative_prompt is None
