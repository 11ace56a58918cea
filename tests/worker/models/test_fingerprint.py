"""Two models under one name are told apart by what they are made of, and one model is itself wherever it lies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import load_model
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint
from sigmafarm_worker.service.images import encode, read_parameters

UNET, VAE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "text_encoder/model.safetensors"


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy" / "tiny"))


def change(file: str) -> Callable[[Path], None]:
    """As a fine-tuning does: other values in tensors of the same names and shapes."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / file)
        size_bytes = (folder / file).stat().st_size
        name = max(tensors, key=lambda n: tensors[n].size)
        tensors[name] = tensors[name] + np.float32(1e-3)
        save_file(tensors, folder / file, metadata={"format": "pt"})
        assert (folder / file).stat().st_size == size_bytes

    return change


def other_noise_levels(folder: Path) -> None:
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "beta_end": 0.013}))


def other_heads(folder: Path) -> None:
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attention_head_dim": 8}))


@pytest.mark.parametrize(
    "changed", [change(UNET), change(VAE), change(TEXT_ENCODER), other_noise_levels, other_heads],
    ids=["unet", "vae", "text encoder", "scheduler", "config"],
)  # fmt: skip
def test_a_model_with_another_part_has_another_fingerprint(changed, model, copy):
    changed(copy)

    assert load_model(copy).fingerprint != model.fingerprint


def written_anew(folder: Path) -> None:
    for file in (UNET, VAE, TEXT_ENCODER):
        save_file(
            dict(reversed(load_file(folder / file).items())), folder / file, metadata={"format": "pt", "by": "me"}
        )


def by_another_version(folder: Path) -> None:
    for file in (folder / "unet" / "config.json", folder / "text_encoder" / "config.json"):
        file.write_text(
            json.dumps({**json.loads(file.read_text()), "_diffusers_version": "9", "transformers_version": "9"})
        )


def in_shards(folder: Path) -> None:
    tensors = load_file(folder / UNET)
    names = sorted(tensors)
    shards = {"one-of-2.safetensors": names[::2], "two-of-2.safetensors": names[1::2]}
    for shard, its_names in shards.items():
        save_file({n: tensors[n] for n in its_names}, folder / "unet" / shard, metadata={"format": "pt"})
    places = {name: shard for shard, its_names in shards.items() for name in its_names}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (folder / UNET).unlink()


@pytest.mark.parametrize("rewritten", [lambda folder: None, written_anew, by_another_version, in_shards])
def test_a_model_is_itself_however_its_files_are_written(rewritten, model, copy):
    rewritten(copy)

    assert load_model(copy).fingerprint == model.fingerprint != ""


def test_parts_named_apart_are_those_of_the_whole(model, checkpoint):
    parts = {part: str(checkpoint / part) for part in ("tokenizer", "text_encoder", "unet", "vae")}
    scheduler = {k: v for k, v in model.scheduler.items() if not k.startswith("_")}

    assert load_model(ModelSpec(name="apart", scheduler=scheduler, **parts)).fingerprint == model.fingerprint


def test_two_random_checkpoints_of_one_name_differ_in_the_card_the_picture_and_the_file(model, tmp_path, run):
    other = load_model(make_random_checkpoint(tmp_path / "tiny", seed=2))
    assert other.name == model.name
    assert other.card().fingerprint != model.card().fingerprint

    for each in (model, other):
        engine = Engine(each)
        future = engine.submit(RenderRequest(prompt="a", num_inference_steps=2, seed=1))
        run(engine)
        drawn = future.result(0)
        assert drawn.fingerprint == each.fingerprint
        for file_format in ("png", "jpeg", "webp"):
            file = encode(drawn.pixels, file_format, drawn.request, "tiny", drawn.fingerprint)
            said = read_parameters(file)
            assert said.fingerprint == each.fingerprint
            assert RenderRequest.parse(said.settings).prompt == "a", "the settings can be asked for again"


def test_a_picture_of_before_fingerprints_is_still_read(model):
    pixels = np.zeros((8, 8, 3), np.uint8)
    request = RenderRequest(prompt="a", height=64, width=64).resolved()

    assert read_parameters(encode(pixels, "png", request, "tiny")).fingerprint == ""


def test_a_card_of_before_fingerprints_is_still_read():
    assert ModelCard.model_validate_json('{"name": "m", "defaults": {}}').fingerprint == ""
