"""The same weights draw the same picture and have one fingerprint, wherever and under whose names they lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_card import card_of
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.clip_tokenizer import make_clip_tokenizer
from sigmafarm_worker.models.random_checkpoint import Size, make_random_checkpoint
from tests.single_file import old_vae, original_unet, original_vae, read_part, write_single_file

REQUEST = RenderRequest(prompt="a cat", negative_prompt="grey", num_inference_steps=3, seed=1)
SMALL_SIZE = {"modelspec.resolution": "64x64"}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the family of 1.x."""
    return make_random_checkpoint(tmp_path_factory.mktemp("first") / "first", size=Size.SMALL_SD15)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the family of 2.x that predicts v."""
    folder = tmp_path_factory.mktemp("second") / "second"
    return make_random_checkpoint(folder, size=Size.SMALL_SD21, prediction_type="v_prediction")


def load(place: Path, folder: Path, **more: Any) -> Model:
    """Load a single file with the small tokenizer of the folder that it came from."""
    spec = {"name": "m", "path": str(place), "tokenizer": {"path": str(folder), "subfolder": "tokenizer"}, **more}
    return load_model(ModelSpec.model_validate(spec))


@pytest.fixture(scope="module")
def latents(draw_alone: Callable[..., Any]) -> Callable[[Model], np.ndarray]:

    return lambda model: draw_alone(REQUEST, model).latents


def same(model: Model, folder: Path, latents: Callable[[Model], np.ndarray]) -> bool:
    """Whether a model has the fingerprint of the folder and draws its picture, bit for bit."""
    whole = load_model(folder)
    assert model.fingerprint == whole.fingerprint != ""
    assert (model.height, model.width, model.prediction_type) == (whole.height, whole.width, whole.prediction_type)
    return np.array_equal(latents(model), latents(whole))


def test_a_checkpoint_of_1_x_in_one_file_is_its_folder(first, tmp_path, latents):
    file = write_single_file(first, tmp_path / "one.safetensors", metadata=SMALL_SIZE)

    model = load(file, first)

    assert same(model, first, latents)
    assert model.parts == {
        "tokenizer": "first",
        "text_encoder": "one.safetensors",
        "unet": "one.safetensors",
        "vae": "one.safetensors",
        "scheduler": "one.safetensors",
    }


def test_a_checkpoint_of_2_x_in_one_file_is_its_folder_less_the_layer_that_nobody_uses(second, tmp_path, latents):
    marks = {**SMALL_SIZE, "modelspec.prediction_type": "v"}
    file = write_single_file(second, tmp_path / "two.safetensors", is_second=True, metadata=marks)
    assert "cond_stage_model.model.transformer.resblocks.23.ln_1.weight" in load_file(file)

    assert same(load(file, second), second, latents)


def test_an_inpainting_checkpoint_in_one_file_loads_with_its_nine_channels(tmp_path):
    folder = make_random_checkpoint(tmp_path / "nine", size=Size.SMALL_SD15, in_channels=9)
    file = write_single_file(folder, tmp_path / "nine.safetensors", metadata=SMALL_SIZE)

    model = load(file, folder)

    assert model.unet.config.in_channels == 9
    assert model.fingerprint == load_model(folder).fingerprint


def test_a_file_in_half_precision_is_the_folder_in_half_precision(first, tmp_path, latents):
    half = Path(shutil.copytree(first, tmp_path / "half"))
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        (file,) = (half / part).glob("*.safetensors")
        tensors = {name: t.half() for name, t in load_file(file).items()}
        file.unlink()
        save_file(tensors, half / part / f"{stem}.fp16.safetensors", metadata={"format": "pt"})
    file = write_single_file(first, tmp_path / "half.safetensors", metadata=SMALL_SIZE, dtype=torch.float16)

    assert same(load(file, first), half, latents)


def parts_of(first: Path, folder: Path) -> Mapping[str, Any]:
    """Each part from a place of another kind: a folder, files in the original names and in diffusers', a schedule."""
    config = json.loads((first / "unet" / "config.json").read_text())
    save_file(original_unet(read_part(first / "unet"), config), folder / "unet.safetensors", metadata=SMALL_SIZE)
    save_file({f"vae.{n}": t for n, t in read_part(first / "vae").items()}, folder / "vae.safetensors")
    text = {f"text_model.{name}": tensor for name, tensor in read_part(first / "text_encoder").items()}
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(text, folder / "words.safetensors")
    return {
        "tokenizer": str(first / "tokenizer"),
        "unet": str(folder / "unet.safetensors"),
        "vae": str(folder / "vae.safetensors"),
        "text_encoder": str(folder / "words.safetensors"),
        "scheduler": str(first / "scheduler"),
    }


def test_parts_from_a_folder_and_from_files_of_their_own_are_the_whole(first, tmp_path, latents):
    spec = ModelSpec.model_validate({"name": "apart", **parts_of(first, tmp_path)})

    model = load_model(spec)

    assert same(model, first, latents)
    assert model.parts["vae"] == "vae.safetensors"
    assert card_of(spec).prediction_type == "epsilon"


@pytest.mark.parametrize("renamed", [old_vae, original_vae, lambda tensors: tensors], ids=["old", "original", "today"])
def test_a_vae_is_swapped_in_one_line_whatever_its_names(renamed, first, tmp_path, latents):
    other = make_random_checkpoint(tmp_path / "other", size=Size.SMALL_SD15, seed=5)
    save_file(renamed(read_part(other / "vae")), tmp_path / "vae.safetensors")

    swapped = load_model(ModelSpec.model_validate({"path": str(first), "vae": str(tmp_path / "vae.safetensors")}))

    whole = load_model(ModelSpec.model_validate({"path": str(first), "vae": str(other / "vae")}))
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(swapped.decode(x)[0], whole.decode(x)[0])
    assert swapped.fingerprint == whole.fingerprint != load_model(first).fingerprint


def test_old_names_in_a_folder_are_read_too(first, tmp_path, latents):
    old = Path(shutil.copytree(first, tmp_path / "old"))
    (vae,), (text,) = (old / "vae").glob("*.safetensors"), (old / "text_encoder").glob("*.safetensors")
    save_file(old_vae(load_file(vae)), vae)
    words = {f"text_model.{name}": tensor for name, tensor in read_part(old / "text_encoder").items()}
    save_file(words | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, text)

    assert same(load_model(old), first, latents)


def test_a_file_without_a_tokenizer_is_read_with_clips_own_words(tmp_path, latents):
    folder = make_random_checkpoint(tmp_path / "words", size=Size.SMALL_SD15, has_clip_words=True)
    file = write_single_file(folder, tmp_path / "words.safetensors", metadata=SMALL_SIZE)

    model = load_model(file)

    assert same(model, folder, latents)
    assert (model.name, model.parts["tokenizer"]) == ("words", "CLIP's own")


def test_clips_own_words_have_the_published_ids():
    words = make_clip_tokenizer(pad_id=49407)

    ids = words("a photograph of an astronaut riding a horse").input_ids

    assert ids == [49406, 320, 8853, 539, 550, 18376, 6765, 320, 4558, 49407]
    assert (len(words), words.pad_token_id, make_clip_tokenizer(pad_id=0).pad_token_id) == (49408, 49407, 0)


def test_a_small_vocabulary_asks_for_its_tokenizer(first, tmp_path):
    file = write_single_file(first, tmp_path / "one.safetensors", metadata=SMALL_SIZE)

    with pytest.raises(ModelNotLoadable, match=r"tokenizer has 49408 words, its text encoder 514: .*tokenizer = "):
        load_model(file)


def scatter(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the telling bias of a UNet that predicts v looks like."""
    name = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    return {**tensors, name: torch.tensor([-0.3, 0.3], dtype=torch.bfloat16)}


V, EPSILON, ZERO_SNR = "v_prediction", "epsilon", (True, "trailing")
PREDICTIONS: dict[str, tuple[Mapping[str, str], list[str], Mapping[str, Any], str, tuple[Any, Any]]] = {
    "2.x without a word": ({}, [], {}, EPSILON, (None, None)),
    "its bias scatters": ({}, ["scatter"], {}, V, (None, None)),
    "metadata": ({"modelspec.prediction_type": "v"}, [], {}, V, (None, None)),
    "metadata before the bias": ({"modelspec.prediction_type": "epsilon"}, ["scatter"], {}, EPSILON, (None, None)),
    "kohya's metadata": ({"ss_v_parameterization": "True"}, [], {}, V, (None, None)),
    "architecture": ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, [], {}, V, (None, None)),
    "of 512": ({"modelspec.architecture": "stable-diffusion-v2-512"}, ["scatter"], {}, EPSILON, (None, None)),
    "marks": ({}, ["v_pred", "ztsnr"], {}, V, ZERO_SNR),
    "models file": ({"modelspec.prediction_type": "v"}, [], {"prediction_type": "epsilon"}, EPSILON, (None, None)),
}  # fmt: skip


@pytest.mark.parametrize(("noted", "marks", "said", "wanted", "snr"), PREDICTIONS.values(), ids=PREDICTIONS.keys())
def test_what_a_single_file_predicts_follows_the_stated_rule(noted, marks, said, wanted, snr, second, tmp_path):
    more = scatter({}) if "scatter" in marks else {mark: torch.zeros(0) for mark in marks}
    file = write_single_file(second, tmp_path / "m.safetensors", is_second=True, metadata=noted, more=more)

    card = card_of(ModelSpec.model_validate({"path": str(file), "scheduler": said or None}))

    assert (card.problem, card.prediction_type) == ("", wanted)
    # Stable Diffusion 2.x was trained on 768 pixels where it predicts v, else on 512.
    assert card.defaults["width"] == (768 if wanted == V else 512)
    if snr != (None, None):
        model = load(file, second)
        assert (model.scheduler["rescale_betas_zero_snr"], model.scheduler["timestep_spacing"]) == snr
