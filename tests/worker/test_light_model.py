"""The light model's rows hang on all that they are given, and on nothing else: tests of the engine stand on that."""

from __future__ import annotations

import pytest
import torch

from sigmafarm_worker.models import Model

GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(3, 4, 8, 9, generator=GENERATOR)
T = torch.tensor([980.0, 20.0, 500.0])


def answer(light: Model, x: torch.Tensor, t: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
    return light.unet(x, t, encoder_hidden_states=emb, return_dict=False)[0]


@pytest.fixture
def emb(light: Model) -> torch.Tensor:
    return torch.stack(light.prompts.embeddings([light.prompts.tokens(text) for text in ("a cat", "a cap", "")]))


def test_a_row_is_the_same_alone_and_in_company(light: Model, emb: torch.Tensor):
    together = answer(light, X, T, emb)

    for n in range(3):
        assert torch.equal(together[n], answer(light, X[n : n + 1], T[n : n + 1], emb[n : n + 1])[0])


def test_another_picture_time_or_text_is_another_answer(light: Model, emb: torch.Tensor):
    first = answer(light, X, T, emb)

    for other in ((X.roll(1, 3), T, emb), (X, T + 20, emb), (X, T, emb.roll(1, 0)), (X.flip(1), T, emb)):
        assert ((answer(light, *other) - first).abs().amax(dim=(1, 2, 3)) > 1e-2).all()


def test_a_row_with_fewer_tokens_is_under_a_mask_what_it_is_alone(light: Model, emb: torch.Tensor):
    longer, mask = torch.cat([emb, emb + 7], 1), (torch.arange(154) < 77).expand(3, 154)

    masked = light.unet(X, T, encoder_hidden_states=longer, encoder_attention_mask=mask)[0]

    torch.testing.assert_close(masked, answer(light, X, T, emb))
    assert not torch.allclose(masked, answer(light, X, T, longer), atol=1e-2)
