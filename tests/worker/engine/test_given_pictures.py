"""Jobs that start from a picture, with a mask and without: diffusers' pipelines' own results, alone and in company."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor

from sigmafarm_common.errors import InvalidInput, PictureNotFinite
from sigmafarm_common.samplers import SAMPLERS
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.noise_rows import NoiseRows
from sigmafarm_worker.models import Model, load_model
from tests.worker.engine.pipelines import draw_theirs

SIDE = 64
Asked = tuple[RenderRequest, dict[str, Any]]


def a_picture(seed: int = 0, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Return smooth colours with a little noise, uint8 [height, width, 3]."""
    source = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / SIDE
    waves = np.stack([np.sin(3 * x + seed), np.cos(4 * y - seed), np.sin(5 * (x + y))], axis=-1)
    return (127.5 + 100 * waves + source.normal(0, 8, waves.shape)).clip(0, 255).astype(np.uint8)


def a_mask(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Return a mask, uint8 [height, width], of a block and a slanted edge with grey values."""
    y, x = np.mgrid[:height, :width]
    mask = (255 * (x > width // 2)).astype(np.uint8)
    mask[(y + x) < 40] = 200
    mask[height - 12 :] = 100
    return mask


def request(seed: int = 4, **said: Any) -> RenderRequest:
    common = {
        "prompt": "a red circle",
        "num_inference_steps": 10,
        "lms_start": "diffusers",
        "height": SIDE,
        "width": SIDE,
    }
    return RenderRequest.parse({**common, "seed": seed, **said})


def of_all_kinds(*, with_text: bool = True) -> list[Asked]:
    """Return jobs of every kind: text, picture, picture with mask; with strengths, guidance and negative prompts."""
    jobs: list[Asked] = []
    for i, strength in enumerate((0.1, 0.35, 0.5, 0.8, 1.0)):
        said = {
            "strength": strength,
            "guidance_scale": (7.5, 1, 3)[i % 3],
            "negative_prompt": "grey" if i % 2 else None,
        }
        jobs.append((request(i, prompt=f"image {i}", **said), {"init_image": a_picture(i)}))
        masked = {"init_image": a_picture(i), "mask_image": a_mask()}
        jobs.append((request(10 + i, prompt=f"mask {i}", **said), masked))
    if with_text:
        jobs += [(request(20 + i, prompt=f"text {i}", negative_prompt="grey" if i else None), {}) for i in range(2)]
    return jobs


def draw(model: Model, jobs: list[Asked], run: Any, *, max_images: int = 16) -> list[Rendered]:
    engine = Engine(model, max_images=max_images)
    futures = [engine.submit(asked, **pictures) for asked, pictures in jobs]
    run(engine)
    return [future.result(0) for future in futures]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoint", "v_checkpoint", "inpainting_checkpoint"])
def test_text_pictures_and_masks_in_one_batch_are_those_of_diffusers_pipelines(kind: str, request_fixture, run, error):
    folder: Path = request_fixture(kind)
    model, has_nine = load_model(folder), kind == "inpainting_checkpoint"
    jobs = [job for job in of_all_kinds(with_text=not has_nine) if not has_nine or "mask_image" in job[1]]

    together = draw(model, jobs, run)

    for (asked, pictures), drawn in zip(jobs, together, strict=True):
        assert error(drawn.latents, draw_theirs(folder, asked, **pictures)[0]) < 1e-4, asked.prompt
    alone = [draw(model, [job], run)[0] for job in jobs[:4]]
    assert all(error(one.latents, other.latents) < 1e-5 for one, other in zip(alone, together[:4], strict=True))


@pytest.mark.slow
def test_every_sampler_starts_midway_and_keeps_what_a_mask_leaves_as_diffusers_does(
    checkpoint: Path, model, run, error
):
    jobs: list[Asked] = []
    for i, sampler in enumerate(SAMPLERS):
        said = {
            "prompt": sampler.name,
            "sampler": sampler.name,
            "num_inference_steps": 6,
            "strength": (0.5, 0.7)[i % 2],
        }
        jobs.append((request(i, **said), {"init_image": a_picture(i)}))
        jobs.append((request(i, **said), {"init_image": a_picture(i), "mask_image": a_mask()}))

    together = draw(model, jobs, run, max_images=len(jobs))

    for (asked, pictures), drawn in zip(jobs, together, strict=True):
        assert error(drawn.latents, draw_theirs(checkpoint, asked, **pictures)[0]) < 1e-4, asked.prompt


@pytest.mark.slow
@pytest.mark.parametrize("begins_with", ["text", "picture", "picture and mask"])
@pytest.mark.parametrize("num_prompts", [1, 2, 3, 4, 5])
def test_a_row_of_a_call_with_one_generator_is_that_of_the_pipelines_list(
    num_prompts: int, begins_with: str, checkpoint: Path, model: Model, run, error
):
    """Nine times eleven latents are no multiple of the sixteen numbers that torch draws at once."""
    height, width = (SIDE, SIDE) if begins_with == "text" else (72, 88)
    prompts = [f"thing {i}" for i in range(num_prompts)]
    said = {
        "num_inference_steps": 4,
        "sampler": "euler_a",
        "image_count": num_prompts,
        "height": height,
        "width": width,
    }
    pictures = {} if begins_with == "text" else {"init_image": a_picture(1, height, width)}
    if begins_with == "picture and mask":
        pictures["mask_image"] = a_mask(height, width)
    jobs = [(request(prompt=prompt, image_index=i, **said), pictures) for i, prompt in enumerate(prompts)]

    drawn = draw(model, jobs, run)

    theirs = draw_theirs(checkpoint, jobs[0][0], **pictures, prompts=prompts)
    assert all(error(ours.latents, row) < 1e-4 for ours, row in zip(drawn, theirs, strict=True))


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 9, 11)])
def test_noise_of_a_row_is_that_of_the_whole_call_to_the_bit_and_so_is_what_follows(shape):
    for count in (1, 2, 4, 7):
        whole = torch.Generator().manual_seed(100)
        calls = [torch.randn(count, *shape, generator=whole) for _ in range(2)]
        for index in range(count):
            rows = NoiseRows(torch.Generator().manual_seed(100), shape, index, count)

            assert [torch.equal(rows.draw(), call[index]) for call in calls] == [True, True]


def test_exact_is_the_default_and_differs_from_diffusers_start_of_lms(model: Model, draw_alone, error):
    exact, pictures = request(strength=0.6).model_copy(update={"lms_start": None}), {"init_image": a_picture()}

    drawn = draw_alone(exact, **pictures)

    assert drawn.request.lms_start is None
    assert error(drawn.latents, draw_alone(request(strength=0.6), **pictures).latents) > 1e-3


def test_a_start_step_is_the_strength_that_leaves_as_many_steps(model: Model, draw_alone, error):
    pictures = {"init_image": a_picture()}

    drawn = draw_alone(request(start_step=3), **pictures)

    assert (drawn.request.start_step, drawn.request.strength) == (3, None)
    assert error(drawn.latents, draw_alone(request(strength=0.7), **pictures).latents) == 0


def test_progress_counts_calls_from_the_start_step_on(model: Model, run):
    told: list[tuple[int, int]] = []
    asked = request(sampler="heun", start_step=6)
    engine = Engine(model)
    future = engine.submit(asked, lambda *step: told.append(step), init_image=a_picture())

    run(engine)

    assert told == [(i, 7) for i in range(1, 8)]
    assert asked.num_calls == 7
    assert future.result(0).request.strength is None


def test_where_the_mask_is_0_the_picture_comes_back_to_the_bit(model: Model, draw_alone):
    picture, mask = a_picture(), a_mask()

    drawn = draw_alone(request(), init_image=picture, mask_image=mask)
    inverted = draw_alone(request(mask_invert=True, mask_blur=1), init_image=picture, mask_image=255 - mask)

    assert np.array_equal(drawn.pixels[mask == 0], picture[mask == 0])
    assert (drawn.pixels[mask == 255] != picture[mask == 255]).any()
    assert np.array_equal(inverted.pixels[44:47, 8:20], picture[44:47, 8:20])
    assert inverted.request.strength == 0.8


@pytest.mark.slow
def test_the_masked_area_only_is_drawn_at_full_size_and_put_back_as_diffusers_does(checkpoint: Path, draw_alone):
    picture, mask = a_picture(2), np.zeros((SIDE, SIDE), np.uint8)
    mask[20:34, 8:30] = 255
    asked = request(masked_area_only=True, masked_padding=4, strength=0.7)

    drawn = draw_alone(asked, init_image=picture, mask_image=mask)

    theirs = draw_theirs(checkpoint, asked, picture, mask, output_type="pil", padding_mask_crop=4)
    assert np.abs(drawn.pixels.astype(int) - theirs).max() <= 2
    assert np.array_equal(drawn.pixels[mask == 0], picture[mask == 0])


def test_what_stands_under_the_mask_changes_the_picture_and_only_there(model: Model, run):
    fills = ("fill", "original", "latent_noise", "latent_nothing")
    jobs = [(request(inpainting_fill=fill), {"init_image": a_picture(), "mask_image": a_mask()}) for fill in fills]

    pictures = [drawn.pixels for drawn in draw(model, jobs, run)]

    for i, one in enumerate(pictures):
        assert all((one != other).any() for other in pictures[:i])
        assert np.array_equal(one[a_mask() == 0], pictures[0][a_mask() == 0])


def test_a_lane_blends_only_while_somebody_in_it_has_a_mask(model: Model, run):
    engine = Engine(model)
    engine.submit(request(num_inference_steps=9))
    engine.step()
    (lane,) = engine._stepper.lanes.values()
    plain = lane._outside
    masked = engine.submit(request(num_inference_steps=2, strength=1), init_image=a_picture(), mask_image=a_mask())
    engine.step()
    while_masked = lane._outside
    while not masked.done():
        engine.step()

    assert (plain, while_masked is None, lane._outside) == (None, False, None)
    assert lane.slots
    run(engine)


def test_a_model_for_inpainting_draws_texts_and_pictures_without_a_mask_too(inpainting_checkpoint: Path, run):
    engine = Engine(load_model(inpainting_checkpoint), max_images=2)
    engine.warm_up()
    futures = [engine.submit(request()), engine.submit(request(), init_image=a_picture())]

    run(engine)

    assert [future.result(0).pixels.shape for future in futures] == [(SIDE, SIDE, 3)] * 2


PICTURES = {"init_image": a_picture(), "mask_image": a_mask()}
BAD = [
    ({"strength": 0.5}, {}, "strength is 0.5: it means nothing without init_image: give one, or leave it out"),
    ({"mask_blur": 4}, {"init_image": a_picture()}, "mask_blur is 4.0: it means nothing without mask_image"),
    ({}, {"mask_image": a_mask()}, "mask_image comes without a picture: give the init_image that it masks"),
    (
        {},
        {"init_image": a_picture(0, 72, 64)},
        r"init_image is uint8 \[72, 64, 3\]: must be .* \[64, 64, 3\], the size",
    ),
    (
        {},
        {"init_image": a_picture().astype(float)},
        r"init_image is float64 \[64, 64, 3\]: must be a NumPy array of uint8",
    ),
    ({}, {"init_image": [[1]]}, "init_image is of type list: must be a NumPy array"),
    ({}, {"init_image": a_picture(), "mask_image": a_picture()}, r"mask_image is uint8 \[64, 64, 3\]: .* \[64, 64\]"),
    ({"start_step": 10}, PICTURES, "start_step is 10: must be 0 to 9, for there are 10 steps"),
    ({"strength": 0.05}, PICTURES, "strength is 0.05: of 10 steps it leaves none: must be at least 0.1"),
    (
        {"masked_area_only": True},
        {**PICTURES, "mask_image": np.zeros((SIDE, SIDE), np.uint8)},
        r"mask_image leaves nothing to draw anew: paint it white \(255\)",
    ),
]


@pytest.mark.parametrize(("said", "pictures", "why"), BAD, ids=[why[:40] for _, _, why in BAD])
def test_what_does_not_fit_is_refused_with_value_and_cure_and_the_engine_lives_on(said, pictures, why, engine, run):
    base = request().model_copy(update={"lms_start": None, **said})  # as a batch's defaults may bring it together
    future, other = engine.submit(base, **pictures), engine.submit(request(num_inference_steps=1))

    run(engine)

    with pytest.raises(InvalidInput, match=why):
        future.result(0)
    assert other.result(0).pixels.shape == (SIDE, SIDE, 3)


def spoil_encoder(model: Model, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tensor], Tensor]) -> list[str]:
    """Have the VAE's encoder see otherwise. Gives the precisions in which it was asked."""
    encoder, asked = type(model.vae.encoder), list[str]()
    forward = encoder.forward

    def spoiled(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        asked.append(str(x.dtype).removeprefix("torch."))
        return spoil(forward(self, x, *args, **kwargs))

    monkeypatch.setattr(encoder, "forward", spoiled)
    return asked


def test_an_encoder_that_overflows_in_half_is_asked_once_more_in_float32(checkpoint: Path, run, monkeypatch):
    model = load_model(checkpoint, dtype=torch.bfloat16)
    asked = spoil_encoder(model, monkeypatch, lambda out: out if out.dtype == torch.float32 else out * torch.nan)
    engine = Engine(model)

    with capture_logs() as logs:
        future = engine.submit(request(num_inference_steps=2), init_image=a_picture())
        run(engine)

    assert future.result(0).pixels.std() > 0
    assert asked == ["bfloat16", "float32"]
    assert [line["model"] for line in logs if line["event"] == "engine.vae_overflows"] == ["tiny"]


def test_a_picture_that_cannot_be_encoded_fails_alone(model: Model, run, monkeypatch):
    def spoil(out: Tensor) -> Tensor:
        out[:1] = torch.nan
        return out

    engine = Engine(model)
    text = engine.submit(request(num_inference_steps=2))
    engine.step()
    ill = engine.submit(request(num_inference_steps=2), init_image=a_picture())
    spoil_encoder(model, monkeypatch, spoil)
    run(engine)

    with pytest.raises(PictureNotFinite, match=r"latents of the given picture are not finite \(in float32\): the VAE"):
        ill.result(0)
    assert text.result(0).pixels.std() > 0
    assert (engine.stats.num_done, engine.stats.num_failed) == (1, 1)


def test_memory_that_runs_out_while_encoding_is_met_with_fewer_pictures_at_once(model: Model, run, monkeypatch):
    def spoil(out: Tensor) -> Tensor:
        if len(out) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return out

    asked = spoil_encoder(model, monkeypatch, spoil)
    engine = Engine(model)
    futures = [engine.submit(request(i, num_inference_steps=2), init_image=a_picture(i)) for i in range(3)]
    run(engine)

    assert [future.result(0).pixels.shape for future in futures] == [(SIDE, SIDE, 3)] * 3
    assert len(asked) == 5  # three, one, two, one, one


@pytest.fixture
def request_fixture(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue
