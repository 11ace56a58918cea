"""Prompts of different lengths share a pass, and each is drawn as it is alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.frugal_pass import FrugalPass
from sigmafarm_worker.engine.unet_pass import EagerPass

LENGTHS = ["a", "a BREAK b", "c BREAK d BREAK e", "(f:1.3)"]


def request(prompt: str, negative: str = "", **said: Any) -> RenderRequest:
    fields = {"num_inference_steps": 3, "seed": 1, "prompt_syntax": "a1111", "negative_prompt": negative}
    return RenderRequest.parse({"prompt": prompt, **fields, **said})


def test_a_picture_is_the_same_alone_and_beside_prompts_of_other_lengths(model, run, draw_alone, error):
    asked = [request(prompt, LENGTHS[-1 - n], num_inference_steps=2 + n) for n, prompt in enumerate(LENGTHS)]
    asked += [request("plain", prompt_syntax="plain", num_inference_steps=6), request("g BREAK h", guidance_scale=1)]
    engine = Engine(model, max_images=4)
    futures = [engine.submit(each) for each in asked]
    run(engine)

    for each, future in zip(asked, futures, strict=True):
        assert error(future.result(0).latents, draw_alone(each).latents) < 1e-5


def test_chunks_and_weights_are_drawn(model, draw_alone):
    pictures = [draw_alone(request(p)).latents for p in ("a", "a BREAK b", "(a:1.5)")]

    assert all(np.abs(pictures[0] - other).max() > 1e-3 for other in pictures[1:])


@pytest.mark.parametrize(
    "wrap", [lambda inner: inner, lambda inner: FrugalPass(inner, SystemClock())], ids=["eager", "frugal"]
)
def test_a_row_with_fewer_tokens_is_what_a_pass_without_the_others_gives(wrap, model):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 4, 8, 8, generator=generator)
    emb = torch.randn(3, 154, model.prompts.width, generator=generator)
    mask = torch.arange(154) < torch.tensor([77, 154, 77])[:, None]
    t = torch.tensor([500.0, 20.0, 900.0])

    with torch.inference_mode():
        together = wrap(EagerPass(model))(x, t, emb, mask)
        alone = [EagerPass(model)(x[n : n + 1], t[n : n + 1], emb[n : n + 1, : [77, 154, 77][n]])[0] for n in range(3)]

    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)
