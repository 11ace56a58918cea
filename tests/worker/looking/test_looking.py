"""Looking inside, on the bundled model and on figures that are known: each look is a picture and numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sigmafarm_common.errors import InvalidInput
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import PromptSyntax, RenderRequest
from sigmafarm_worker import looking
from sigmafarm_worker.bundled import bundled_model_path
from sigmafarm_worker.looking import __main__ as program
from sigmafarm_worker.looking.drawn import channel_of
from sigmafarm_worker.models import Model, find_tokenizer, load_model

SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
REQUEST = RenderRequest(prompt="a red circle", num_inference_steps=4, seed=4)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(bundled_model_path())


def test_the_schedule_of_70_steps_is_the_published_one() -> None:
    look = looking.look_at_schedule(SCHEDULER, 70)

    assert np.allclose(look.figures["sigmas"][:4], [14.6146, 13.3974, 12.3033, 11.3184], atol=5e-5)
    assert np.allclose(look.figures["sigmas"][-3:], [0.1174, 0.0292, 0.0], atol=5e-5)
    assert np.allclose(look.figures["timesteps"][:3], [999.0, 984.5217, 970.0435], atol=5e-4)
    assert look.figures["init_noise_sigma"] == pytest.approx(14.6146, abs=5e-5)


def test_tokens_tell_what_is_read_and_what_is_cut() -> None:
    folder = bundled_model_path()
    tokenizer = find_tokenizer(ModelSpec(name="bundled", path=str(folder)))

    short = looking.look_at_tokens(tokenizer, "a red circle").figures
    long = looking.look_at_tokens(tokenizer, "circle " * 90).figures

    assert short["num_used"] == sum(each["mask"] for each in short["tokens"]) > 2
    assert (len(short["tokens"]), short["num_cut"]) == (77, 0)
    assert long["num_cut"] == len(long["cut"]) > 0
    assert long["num_used"] == 77
    assert {each["weight"] for each in short["tokens"] + long["tokens"]} == {1}


def test_tokens_of_a_weighted_prompt_tell_weights_and_chunks() -> None:
    folder = bundled_model_path()
    tokenizer = find_tokenizer(ModelSpec(name="bundled", path=str(folder)))

    look = looking.look_at_tokens(tokenizer, "a (red:1.3) [circle] BREAK a ((star))", syntax=PromptSyntax.A1111)
    long = looking.look_at_tokens(tokenizer, "circle " * 90, syntax=PromptSyntax.A1111)

    told = look.figures
    used = [(row["chunk"], row["text"], round(row["weight"], 4)) for row in told["tokens"] if row["mask"]]
    first = [("<|startoftext|>", 1), ("a</w>", 1), ("red</w>", 1.3), ("circle</w>", 0.9091), ("<|endoftext|>", 1)]
    second = [("<|startoftext|>", 1), ("a</w>", 1), ("star</w>", 1.21), ("<|endoftext|>", 1)]
    assert used == [(0, *each) for each in first] + [(1, *each) for each in second]
    assert (told["num_chunks"], told["num_used"], len(told["tokens"]), told["syntax"]) == (2, 9, 154, "a1111")
    assert look.picture.height > looking.look_at_tokens(tokenizer, "a red circle").picture.height
    assert (long.figures["num_chunks"], long.figures["num_cut"], long.figures["num_used"]) == (2, 0, 94)


def test_the_program_takes_the_syntax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["tokens", "-p", "a (red:1.5) circle", "--prompt-syntax", "a1111", "--out", str(tmp_path / "table")]
    monkeypatch.setattr(sys, "argv", ["inspect", *said])

    program.main()

    told = json.loads((tmp_path / "table.json").read_text("utf-8"))
    assert [row["weight"] for row in told["tokens"]][:5] == [1, 1, 1.5, 1, 1]


@pytest.mark.slow
def test_latents_are_those_of_the_drawing(model: Model) -> None:
    look = looking.look_at_latents(model, REQUEST)

    assert len(look.figures["channels"]) == 4
    assert all(each["min"] <= each["mean"] <= each["max"] for each in look.figures["channels"])


@pytest.mark.slow
def test_a_filmstrip_goes_from_the_noise_to_the_picture(model: Model) -> None:
    look = looking.look_at_filmstrip(model, REQUEST, steps=[0, 2, 4])

    assert [each["step"] for each in look.figures["frames"]] == [0, 2, 4]
    with pytest.raises(InvalidInput, match="step 5 is not among 0 to 4"):
        looking.look_at_filmstrip(model, REQUEST, steps=[5])


@pytest.mark.slow
def test_a_picture_through_the_vae_and_with_noise(model: Model, tmp_path: Path) -> None:
    picture = Image.new("RGB", (model.width + 3, model.height), (200, 40, 40))

    trip = looking.look_at_roundtrip(model, picture)
    mild, strong = (looking.look_at_noised(model, picture, step, num_inference_steps=10) for step in (9, 0))

    assert trip.figures["width"] == model.width
    assert 0 <= trip.figures["mean_difference"] < 40
    assert mild.figures["sigma"] < 0.1 < 10 < strong.figures["sigma"]
    assert mild.figures["channels"][0]["std"] < strong.figures["channels"][0]["std"]
    png, numbers = trip.save(tmp_path / "trip.png")
    with Image.open(png) as opened:
        assert opened.width > 200
    assert json.loads(numbers.read_text("utf-8")) == trip.figures
    with pytest.raises(InvalidInput, match="step is 10: must be between 0 and 9"):
        looking.look_at_noised(model, picture, 10, num_inference_steps=10)


def test_a_channel_is_black_at_its_least_and_white_at_its_most() -> None:
    assert channel_of(np.array([[-2.0, 0.0], [1.0, 2.0]], np.float32)).tolist() == [[0, 128], [191, 255]]
    assert channel_of(np.ones((2, 2), np.float32)).tolist() == [[0, 0], [0, 0]]
