"""The bundled model draws what is asked for, through the engine; engines broken on purpose fail the same questions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine, lane
from sigmafarm_worker.models import Model, bundled_model_path, load_model

sys.path.append(str(Path(__file__).resolve().parents[3] / "worker"))

from demo_model import divergence, held_out
from demo_model.checker import color_name, find_thing, frame_color
from demo_model.picture import Background, Pattern, Thing
from tests.limits import LIMIT_S

pytestmark = pytest.mark.slow

#: Enough for a clear picture, few enough for a quick test.
NUM_STEPS = 8
#: Colour of the thing, colour of the background.
COLORS_ASKED = [("red", "white"), ("blue", "yellow"), ("green", "pink"), ("yellow", "black"), ("white", "blue")]
#: Prompts that leave the colour open, and seeds, of which red things come: with guidance and without.
REDS = [("star", 1), ("heart", 2), ("ring", 3), ("heart", 6), ("square", 8), ("star", 13)]
ANYTHING = Thing("red", "circle", "medium", 0.5, 0.5, 0.25)
#: Most bytes that the whole folder may take.
MAX_BYTES = 10_000_000

Draw = Callable[[Sequence[dict[str, object]]], list[np.ndarray]]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(bundled_model_path())


@pytest.fixture
def draw(model: Model) -> Iterator[Draw]:
    """Render settings with a fresh engine."""
    engine = Engine(model, max_images=8)
    engine.start()

    def render(settings: Sequence[dict[str, object]]) -> list[np.ndarray]:
        fields = [{"num_inference_steps": NUM_STEPS, "seed": 1} | s for s in settings]
        futures = [engine.submit(RenderRequest.parse(f)) for f in fields]
        return [future.result(timeout=LIMIT_S).pixels for future in futures]

    yield render
    engine.stop()


def thing_color(pixels: np.ndarray) -> str:
    """Name the colour of what stands out from a plain background; "" if nothing does."""
    return find_thing(pixels, ANYTHING, Background(Pattern.PLAIN, ("white",)))[1]


def colors_right(draw: Draw) -> int:
    """Count the pictures whose thing and background have the colours asked for."""
    prompts = [f"a {color} square on a {ground} background" for color, ground in COLORS_ASKED]
    pictures = draw([{"prompt": prompt, "seed": k} for k, prompt in enumerate(prompts)])
    found = [(thing_color(pixels), color_name(frame_color(pixels))) for pixels in pictures]
    return sum(pair == asked for pair, asked in zip(found, COLORS_ASKED, strict=True))


def guidance_difference(draw: Draw) -> float:
    """Give the mean difference per channel (0 to 255) between guidance 1 and 5 of one prompt and seed."""
    prompt = {"prompt": "a red star on a blue background", "seed": 3}
    weak, strong = draw([prompt | {"guidance_scale": scale} for scale in (1.0, 5.0)])
    return float(np.abs(weak.astype(int) - strong).mean())


def red_things(draw: Draw, negative_prompt: str) -> int:
    """Count the red things in the pictures of REDS."""
    settings = [{"prompt": f"a {shape} on a white background", "seed": seed} for shape, seed in REDS]
    pictures = draw([each | {"negative_prompt": negative_prompt} for each in settings])
    return [thing_color(pixels) for pixels in pictures].count("red")


def test_the_folder_is_small_and_has_no_needless_files() -> None:
    files = [path for path in bundled_model_path().rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert not [path for path in files if path.name == "tokenizer.json"]


def test_the_colors_asked_for_are_drawn(draw: Draw) -> None:
    assert colors_right(draw) == len(COLORS_ASKED)


def test_a_negative_prompt_removes_a_color(draw: Draw) -> None:
    assert red_things(draw, "") >= len(REDS) - 1
    assert red_things(draw, "red") <= 1


def test_guidance_changes_the_picture(draw: Draw) -> None:
    assert guidance_difference(draw) > 0.5


def test_the_seed_decides(draw: Draw) -> None:
    prompt = {"prompt": "a circle on a white background"}

    first, again, other = draw([prompt | {"seed": seed} for seed in (5, 5, 6)])

    assert np.abs(first.astype(int) - again).max() <= 1
    assert np.abs(first.astype(int) - other).mean() > 1


@pytest.mark.parametrize(("width", "height"), [(64, 64), (192, 128), (128, 192), (192, 192)])
def test_other_sizes_keep_the_background(draw: Draw, width: int, height: int) -> None:
    (pixels,) = draw([{"prompt": "a red square on a yellow background", "width": width, "height": height}])

    assert pixels.shape == (height, width, 3)
    assert color_name(frame_color(pixels)) == "yellow"


def test_unknown_words_do_no_harm(draw: Draw) -> None:
    (pixels,) = draw([{"prompt": "a blue square on a white background, trending on xyzzy"}])

    assert thing_color(pixels) == "blue"


# The range of its latents


def test_the_range_of_latents_flags_what_is_broken_by_the_checkers_word(model: Model) -> None:
    """Of worker/demo_model/divergence.py's: at least 95 % of the one. Those of the other that it flags (22, 6 %) are
    mottled to the eye, which the checker does not see."""
    lines = divergence.read(divergence.DATA)
    broken, good = (np.mean([is_flagged(model, each) for each in some]) for some in divergence.split(lines))

    assert broken >= 0.95
    assert good <= 0.07


@pytest.mark.parametrize("file", held_out.DATA, ids=lambda file: file.stem)
def test_the_range_flags_95_percent_of_a_sample_that_a_person_calls_broken_and_1_percent_of_the_good(
    model: Model, file: Path
) -> None:
    """The drift and its limit were chosen on the first two samples, the third was drawn and judged afterwards; the
    largest value's limit came after all three (worker/demo_model/README.md)."""
    lines = held_out.read(file)
    broken, good = ([each for each in lines if each["label"] == kind] for kind in "bg")

    assert np.mean([is_flagged(model, each) for each in broken]) >= 0.95
    assert np.mean([is_flagged(model, each) for each in good]) <= 0.01
    assert len(broken) >= 40
    assert len(good) >= 90


def test_a_picture_that_guidance_blows_up_is_flagged_although_it_does_not_drift(model: Model) -> None:
    engine = Engine(model)
    future = engine.submit(RenderRequest.parse({"prompt": "a red circle", "guidance_scale": 100, "seed": 7}))
    while engine.step():
        pass

    (warning,) = future.result(0).warnings
    assert "(largest value), more than 10" in warning.text


def test_a_picture_that_was_measured_is_drawn_and_flagged_as_it_was(model: Model) -> None:
    """The three cheapest of the broken and of the good: the measurement is of this model and this engine."""
    known = divergence.cases()
    broken, good = divergence.split(divergence.read(divergence.DATA))
    lines = [each for some in (broken, good) for each in sorted(some, key=lambda x: x["num_inference_steps"])[:3]]
    engine = Engine(model, max_images=6)
    futures = []
    for line in lines:
        said = {name: line[name] for name in ("guidance_scale", "num_inference_steps", "lms_order", "karras_sigmas")}
        about = {"prompt": known[line["case"]][0], "seed": 1000 + line["case"]}
        futures.append(engine.submit(RenderRequest.parse({**said, **about})))
    while engine.step():
        pass

    drawn = [future.result(0) for future in futures]
    assert [bool(each.warnings) for each in drawn] == [is_flagged(model, line) for line in lines]
    for each, line in zip(drawn, lines, strict=True):
        assert np.abs(each.latents).max() == pytest.approx(line["peak"], rel=0.05)
        assert each.figures[2] == pytest.approx(line["drift"], rel=0.05, abs=0.002)


def is_flagged(model: Model, line: dict[str, Any]) -> bool:
    return held_out.is_flagged(line, model.latent_range)


# Engines broken on purpose


def _wrong_sign(out_RCHW: Tensor, uncond_row_S: Tensor, scale_S: Tensor) -> Tensor:
    return _guide(out_RCHW, uncond_row_S, -scale_S)


def _rows_swapped_in_a_slot(out_RCHW: Tensor, uncond_row_S: Tensor, scale_S: Tensor) -> Tensor:
    return _guide(out_RCHW, uncond_row_S, 1 - scale_S)


def _rows_swapped_between_slots(out_RCHW: Tensor, uncond_row_S: Tensor, scale_S: Tensor) -> Tensor:
    num_slots = len(scale_S)
    return _guide(torch.cat([out_RCHW[:num_slots].roll(1, 0), out_RCHW[num_slots:]]), uncond_row_S, scale_S)


def _no_scale(out_RCHW: Tensor, uncond_row_S: Tensor, scale_S: Tensor) -> Tensor:
    return _guide(out_RCHW, uncond_row_S, torch.ones_like(scale_S))


_guide = lane.guide


@pytest.mark.parametrize("broken", [_wrong_sign, _rows_swapped_in_a_slot, _rows_swapped_between_slots])
def test_wrong_guidance_draws_wrong_colors(draw: Draw, monkeypatch: pytest.MonkeyPatch, broken) -> None:
    monkeypatch.setattr(lane, "guide", broken)

    assert colors_right(draw) < len(COLORS_ASKED) - 1


def test_guidance_without_its_scale_changes_nothing(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "guide", _no_scale)

    assert guidance_difference(draw) < 0.1


def test_latents_that_were_not_scaled_draw_wrong_colors(
    draw: Draw, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = model.vae.decode
    factor = model.vae.config.scaling_factor
    monkeypatch.setattr(model.vae, "decode", lambda scaled, **options: decode(scaled * factor, **options))

    assert colors_right(draw) < len(COLORS_ASKED) - 1


def test_an_ignored_negative_prompt_leaves_red_things(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "guide", _no_scale)

    assert red_things(draw, "red") >= len(REDS) - 1
