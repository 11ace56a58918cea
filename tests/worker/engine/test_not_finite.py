"""NaN and infinities in any of the networks: the job fails and says which one, its neighbours keep their pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor

from sigmafarm_common.errors import PictureNotFinite
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.previews import PreviewMap
from sigmafarm_worker.service.poller import webp

BAD_VALUES = [torch.nan, torch.inf, -torch.inf]


def request(seed: int, **said: Any) -> RenderRequest:
    return RenderRequest.parse({"prompt": f"thing {seed}", "num_inference_steps": 3, "seed": seed, **said})


def spoil_vae(
    model: Model, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tensor, torch.dtype], Tensor]
) -> list[str]:
    """Have the VAE's decoder answer otherwise. Gives the precisions in which it was asked."""
    decoder, asked = type(model.vae), list[str]()
    decode = decoder.decode

    def spoiled(self: Any, z: Tensor, *args: Any, **kwargs: Any) -> Any:
        asked.append(str(z.dtype))
        return (spoil(decode(self, z, *args, **kwargs)[0].clone(), z.dtype),)

    monkeypatch.setattr(decoder, "decode", spoiled)
    return asked


def one_value(picture: int, value: float) -> Callable[[Tensor, torch.dtype], Tensor]:
    def spoil(out: Tensor, dtype: torch.dtype) -> Tensor:
        out[picture, 1, 5, 7] = value
        return out

    return spoil


@pytest.mark.parametrize("value", BAD_VALUES)
def test_a_picture_with_one_value_that_is_not_finite_fails_alone(value, model, run, draw_alone, monkeypatch):
    wanted = draw_alone(request(2))
    spoil_vae(model, monkeypatch, one_value(0, value))
    engine = Engine(model)
    ill, well = engine.submit(request(1)), engine.submit(request(2))
    run(engine)

    with pytest.raises(
        PictureNotFinite, match=r"decoded picture is not finite \(in float32\).*the VAE of model 'tiny'"
    ) as e:
        ill.result(0)
    assert (e.value.code, e.value.retryable) == ("picture_not_finite", False)
    assert np.abs(well.result(0).pixels.astype(int) - wanted.pixels).max() <= 1
    assert (engine.stats.num_done, engine.stats.num_failed) == (1, 1)


def test_a_vae_that_overflows_in_half_is_asked_once_more_in_float32_and_the_log_says_so_once(
    checkpoint, run, monkeypatch
):
    model = load_model(checkpoint, dtype=torch.bfloat16)
    weights = {name: p.clone() for name, p in model.vae.named_parameters()}
    asked = spoil_vae(model, monkeypatch, lambda out, dtype: out if dtype == torch.float32 else out * torch.nan)
    engine = Engine(model)
    with capture_logs() as logs:
        futures = [engine.submit(request(seed)) for seed in (1, 2)]
        run(engine)

    assert [f.result(0).pixels.std() > 0 for f in futures] == [True, True]
    assert asked == ["torch.bfloat16", "torch.float32", "torch.float32"]
    assert [line["model"] for line in logs if line["event"] == "engine.vae_overflows"] == ["tiny"]
    for name, p in model.vae.named_parameters():
        assert p.dtype == torch.bfloat16
        assert torch.equal(p, weights[name]), "the resident VAE stays as it was"


@pytest.mark.parametrize(
    ("float32", "tried"),
    [
        (lambda out: out * torch.nan, r"in bfloat16 and float32"),
        (lambda out: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")), "float32 could not be tried"),
    ],
)
def test_a_picture_that_is_not_finite_in_float32_either_fails_and_the_others_do_not(
    float32, tried, checkpoint, run, monkeypatch
):
    model = load_model(checkpoint, dtype=torch.bfloat16)

    def spoil(out: Tensor, dtype: torch.dtype) -> Tensor:
        return float32(out) if dtype == torch.float32 else one_value(0, torch.nan)(out, dtype)

    spoil_vae(model, monkeypatch, spoil)
    engine = Engine(model)
    ill, well = engine.submit(request(1)), engine.submit(request(2))
    run(engine)

    with pytest.raises(PictureNotFinite, match=tried):
        ill.result(0)
    assert well.result(0).seed == 2


class Spoils(EagerPass):
    """A UNet that answers something that is not finite in one row, at one pass."""

    def __init__(self, model: Model, row: int, value: float, at_pass: int):
        super().__init__(model)
        self.row, self.value, self.left = row, value, at_pass

    def __call__(self, x_RCHW: Tensor, t_R: Tensor, emb_RTD: Tensor) -> Tensor:
        out_RCHW = super().__call__(x_RCHW, t_R, emb_RTD).clone()
        self.left -= 1
        if self.left == -1:
            out_RCHW[self.row, 2, 3, 4] = self.value
        return out_RCHW


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("row", [1, 4], ids=["conditional", "unconditional"])
def test_a_unet_that_goes_wrong_in_one_row_midway_spoils_no_neighbours_pixel(row, value, model, run, draw_alone):
    engine = Engine(model, max_images=3)
    engine._stepper.unet_passes = {model.name: Spoils(model, row, value, at_pass=1)}
    futures = [engine.submit(request(seed, num_inference_steps=4 + seed)) for seed in range(3)]
    later = engine.submit(request(7))  # takes the place of the first that leaves
    run(engine)

    with pytest.raises(PictureNotFinite, match=r"latents after 5 steps.*the UNet"):
        futures[1].result(0)
    for seed, future in ((0, futures[0]), (2, futures[2])):
        alone = draw_alone(request(seed, num_inference_steps=4 + seed))
        assert np.abs(future.result(0).pixels.astype(int) - alone.pixels).max() <= 1
    assert np.abs(later.result(0).pixels.astype(int) - draw_alone(request(7)).pixels).max() <= 1


def test_an_embedding_that_is_not_finite_fails_its_job_alone_and_is_not_remembered(checkpoint, run, draw_alone):
    model = load_model(checkpoint)
    encoder, spoiled = model.prompts._text_encoder, set[int]()

    def spoil(_module: Any, args: Any, output: Any) -> Any:
        for i, ids in enumerate(args[0].tolist()):
            if tuple(ids) in spoiled:
                output.last_hidden_state[i, 3, 3] = torch.nan
        return output

    spoiled.add(model.prompts.tokens("ill").ids)  # type: ignore[arg-type]
    engine = Engine(model)
    with encoder.register_forward_hook(spoil):
        ill, negative = engine.submit(request(1, prompt="ill")), engine.submit(request(2, negative_prompt="ill"))
        well = engine.submit(request(3))
        run(engine)

    for future in (ill, negative):
        with pytest.raises(PictureNotFinite, match="text encoder's embedding of the prompt, or of the negative prompt"):
            future.result(0)
    assert np.abs(well.result(0).latents - draw_alone(request(3)).latents).max() < 1e-3
    again = engine.submit(request(1, prompt="ill"))
    run(engine)
    assert again.result(0).seed == 1, "the encoder is asked again"


@pytest.mark.parametrize("value", [*BAD_VALUES, 3e38])
def test_a_preview_of_latents_that_are_not_finite_is_a_picture_and_no_warning(value, model):
    engine = Engine(model)
    engine.submit(request(1))
    engine.step()
    next(iter(engine._stepper.lanes.values()))._x_SCHW[0] = value

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (glimpse,) = engine.glimpses()
        pixels = PreviewMap.parse({}).pixels(np.array([np.nan, value, -value, 1], np.float32)[:, None, None])

    assert glimpse.pixels.shape == (8, 8, 3)
    assert pixels.shape == (1, 1, 3)
    assert webp(glimpse.pixels)


def test_a_model_whose_vae_is_not_finite_warms_up_and_the_log_names_it(checkpoint, run, monkeypatch):
    model = load_model(checkpoint)
    with torch.no_grad():
        next(model.vae.decoder.parameters()).fill_(torch.nan)
    engine = Engine(model)
    with capture_logs() as logs:
        engine.warm_up()
    future = engine.submit(request(1))
    run(engine)

    assert [(x["log_level"], x["model"]) for x in logs if x["event"] == "engine.model_not_finite"] == [
        ("error", "tiny")
    ]
    with pytest.raises(PictureNotFinite):
        future.result(0)
