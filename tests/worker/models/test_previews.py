"""Previews from latents: the bundled model's own map, and the published one for others."""

from __future__ import annotations

import numpy as np
import pytest

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import Model, bundled_model_path, load_model
from sigmafarm_worker.models.previews import SD1_FACTORS, PreviewMap


def test_bundled_map_shows_nearly_what_the_vae_draws() -> None:
    model = load_model(bundled_model_path())
    engine = Engine(model)
    request = RenderRequest(prompt="a large red circle on a blue background", seed=3, num_inference_steps=12)
    future = engine.submit(request)
    while engine.step():
        pass
    rendered = future.result(0)

    preview = model.preview.pixels(rendered.latents).astype(float)

    small = rendered.pixels.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3))
    published = PreviewMap.parse({}).pixels(rendered.latents).astype(float)
    assert np.abs(preview - small).mean() < 25
    assert np.abs(preview - small).mean() < np.abs(published - small).mean() / 2


def test_checkpoint_without_a_map_takes_the_published_one(model: Model) -> None:
    assert np.allclose(model.preview.factors, SD1_FACTORS)
    assert not model.preview.bias.any()


def test_pixels_are_the_map_s_and_stay_in_range() -> None:
    latents = np.zeros((4, 2, 3), np.float32)
    latents[0, 0, 0] = 1
    latents[3, 1, 2] = -100

    pixels = PreviewMap.parse({}).pixels(latents)

    assert pixels.shape == (2, 3, 3)
    assert pixels[0, 0].tolist() == [round((c / 2 + 0.5) * 255) for c in SD1_FACTORS[0]]
    assert pixels[1, 2].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("preview", "words"),
    [
        ({"latent_rgb_factors": [[1, 2, 3]]}, r"factors \[1, 3\]"),
        ({"latent_rgb_bias": [0, 0]}, r"bias \[2\]"),
        ({"latent_rgb_bias": [0, 0, float("nan")]}, "finite"),
        ({"latent_rgb_factors": "red"}, "no table of numbers"),
    ],
)
def test_map_that_does_not_fit_is_refused_with_the_reason(preview: dict[str, object], words: str) -> None:
    with pytest.raises(ModelNotLoadable, match=words):
        PreviewMap.parse(preview)
