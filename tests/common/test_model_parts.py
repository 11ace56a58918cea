"""What is wrong with a model is told before a weight is read: the file, the key or tensor, the value and the cure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sigmafarm_common.doctor.model_folders import model_findings
from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.finding import Grade
from sigmafarm_common.model_card import CLIP_WORDS, card_of, told_afar
from sigmafarm_common.models_file import ModelSpec, read_models_file
from sigmafarm_common.weights.config_rules import wrong_keys
from sigmafarm_common.weights.header import read_header

UNET: Mapping[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "block_out_channels": [32],
    "cross_attention_dim": 32,
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
}
VAE: Mapping[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [32, 32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
TEXT: Mapping[str, Any] = {"model_type": "clip_text_model", "architectures": ["CLIPTextModel"], "hidden_size": 32}


def write_weights(file: Path, shapes: Mapping[str, tuple[int, ...]], *, kind: str = "F16", **metadata: str) -> Path:
    """Write a safetensors file with tensors of zeros."""
    header: dict[str, Any] = {"__metadata__": metadata}
    at, size = 0, {"F16": 2, "F8_E4M3": 1, "I64": 8}[kind]
    for name, shape in shapes.items():
        count = size
        for side in shape:
            count *= side
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + count]}
        at += count
    said = json.dumps(header).encode()
    file.write_bytes(len(said).to_bytes(8, "little") + said + bytes(at))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint in diffusers' format, as far as it can be judged without torch."""
    folder = tmp_path / "checkpoint"
    parts = (
        ("unet", UNET, "diffusion_pytorch_model", "time_embedding.linear_1.weight"),
        ("vae", VAE, "diffusion_pytorch_model", "decoder.mid_block.resnets.0.conv1.weight"),
        ("text_encoder", TEXT, "model", "embeddings.token_embedding.weight"),
    )
    for part, config, stem, sign in parts:
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(config))
        write_weights(folder / part / f"{stem}.safetensors", {sign: (1,)})
    for part in ("tokenizer", "scheduler"):
        (folder / part).mkdir()
    (folder / "model_index.json").write_text("{}")
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    (folder / "tokenizer" / "merges.txt").write_text("")
    return folder


def change(file: Path, **changed: Any) -> None:
    said = {**json.loads(file.read_text()), **changed}
    file.write_text(json.dumps({key: value for key, value in said.items() if value is not ...}))


def what_is_told(spec: ModelSpec) -> str:
    """Return the card's problem, which doctor and the card must agree on."""
    found = " | ".join(f.message for f in model_findings(spec) if f.grade is Grade.FAIL)
    problem = card_of(spec).problem
    assert bool(found) == bool(problem)
    assert problem in told_afar(spec, found)
    return found


def test_a_sound_folder_has_a_card_with_its_size_and_parts_and_no_path(folder: Path):
    card = card_of(ModelSpec(name="m", path=str(folder)))

    assert (card.problem, dict(card.defaults), card.prediction_type) == ("", {"height": 64, "width": 64}, "epsilon")
    assert set(card.parts.values()) == {"checkpoint"}
    assert str(folder.parent) not in card.model_dump_json()


BAD_VALUES: list[tuple[str, str, Any, str]] = [
    ("unet", "sample_size", None, "sample_size is null: must be a whole number from 1 to 256"),
    ("unet", "sample_size", [64], "sample_size is [64]: must be"),
    ("unet", "sample_size", "64", "sample_size is '64': must be"),
    ("unet", "sample_size", 0, "sample_size is 0: must be"),
    ("unet", "sample_size", True, "sample_size is True: must be"),
    ("unet", "sample_size", 512, "sample_size is 512: must be"),
    ("unet", "sample_size", ..., "sample_size is missing: must be"),
    ("unet", "sample_size", 4, "its sample_size of 4 makes pictures of 32 x 32: .*set sample_size in its config.json"),
    ("unet", "block_out_channels", ..., "block_out_channels is missing: must be a list of whole numbers"),
    ("unet", "block_out_channels", [], "block_out_channels is []: must be"),
    ("unet", "cross_attention_dim", None, "cross_attention_dim is null"),
    ("unet", "norm_num_groups", 5, "norm_num_groups is 5: must divide every one of block_out_channels"),
    ("unet", "down_block_types", "DownBlock2D", "down_block_types is 'DownBlock2D': must be a list of"),
    ("unet", "down_block_types", ["DownBlock2D"] * 2, "down_block_types names 2 blocks, block_out_channels 1"),
    ("unet", "in_channels", 8, "its UNet takes 8 channels, not 4 or 9 (it is that of instruct-pix2pix"),
    (
        "unet",
        "class_embed_type",
        "projection",
        "its UNet wants class_embed_type ('projection'): only Stable Diffusion 1.x and 2.x",
    ),
    ("vae", "scaling_factor", None, "scaling_factor is null: must be a number above 0 (0.18215"),
    ("vae", "scaling_factor", "0.18215", "scaling_factor is '0.18215': must be"),
    ("vae", "scaling_factor", 0, "scaling_factor is 0: must be"),
    ("vae", "latent_channels", 16, "its VAE has 16 latent channels, not 4: name a VAE of"),
    ("text_encoder", "hidden_size", 48, "its text encoder is 48 wide, its UNet wants 32"),
    ("text_encoder", "num_attention_heads", 5, "num_attention_heads is 5: must divide hidden_size (32)"),
    ("scheduler", "num_train_timesteps", "1000", "num_train_timesteps is '1000': must be a whole number above 1"),
    ("scheduler", "beta_start", None, "beta_start is null: must be a number above 0"),
    ("scheduler", "beta_end", 0.00001, "beta_start is 0.0001: must not be above beta_end (1e-05)"),
    ("scheduler", "trained_betas", [0.1, "x"], "trained_betas is [0.1, 'x']: must be null, or a list"),
    ("own", "latent_range", {"max_rms": "4"}, "must be an object with max_rms, max_peak or max_drift, numbers above 0"),
    ("own", "preview", 5, "preview is 5: must be an object"),
    ("own", "defaults", {"num_inference_steps": 0}, "defaults in sigmafarm.json do not fit: num_inference_steps is 0"),
]
FILES = {"scheduler": "scheduler/scheduler_config.json", "own": "sigmafarm.json"}


@pytest.mark.parametrize(
    ("part", "key", "value", "said"), BAD_VALUES, ids=[f"{p}-{k}-{v}" for p, k, v, _ in BAD_VALUES]
)
def test_a_bad_value_is_told_with_its_file_key_and_cure(part: str, key: str, value: Any, said: str, folder: Path):
    (folder / "sigmafarm.json").write_text("{}")
    change(folder / FILES.get(part, f"{part}/config.json"), **{key: value})

    told = what_is_told(ModelSpec(name="m", path=str(folder)))

    assert all(piece in told for piece in said.split(".*")), told


def test_all_wrong_keys_of_a_file_are_told_together():
    assert len(wrong_keys("vae", {"scaling_factor": None, "latent_channels": "4"})) == 3


SMALL: Mapping[str, tuple[int, ...]] = {
    "model.diffusion_model.input_blocks.0.0.weight": (32, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.0.out_layers.3.weight": (32, 32, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (32, 64),
    "model.diffusion_model.input_blocks.1.1.proj_in.weight": (32, 32, 1, 1),
    "model.diffusion_model.out.2.weight": (4, 32, 3, 3),
    "first_stage_model.decoder.mid.block_1.conv1.weight": (64, 64, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (32, 3, 3, 3),
    "first_stage_model.decoder.conv_in.weight": (64, 4, 3, 3),
    "first_stage_model.decoder.conv_out.weight": (3, 32, 3, 3),
    **{f"first_stage_model.encoder.down.{i}.block.0.conv2.weight": (32, 32, 3, 3) for i in range(4)},
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 64),
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 64),
    "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (128, 64),
}


def without(name: str) -> Mapping[str, tuple[int, ...]]:
    return {key: shape for key, shape in SMALL.items() if name not in key}


def test_a_checkpoint_in_one_file_is_known_by_its_shapes_alone(tmp_path: Path):
    file = write_weights(tmp_path / "one.safetensors", SMALL, **{"modelspec.resolution": "768x512"})

    card = card_of(ModelSpec(name="m", path=str(file)))

    assert (card.problem, dict(card.defaults)) == ("", {"height": 512, "width": 768})
    assert dict(card.parts) == dict.fromkeys(card.parts, "one.safetensors") | {"tokenizer": CLIP_WORDS}


FOREIGN: dict[str, tuple[Mapping[str, tuple[int, ...]], str]] = {
    "lora": ({"lora_unet_down_blocks_0.lora_up.weight": (4, 4)}, "is a LoRA, which changes a checkpoint and is none"),
    "xl": ({**SMALL, "conditioner.embedders.1.model.ln_final.weight": (8,)}, "is Stable Diffusion XL"),
    "sd3": ({"model.diffusion_model.joint_blocks.0.x.weight": (8,)}, "of the family of Stable Diffusion 3 or Flux"),
    "control": ({**SMALL, "control_model.zero_convs.0.0.weight": (8,)}, "is a ControlNet"),
    "inversion": ({"emb_params": (1, 64)}, "is a textual inversion"),
    "unclip": ({**SMALL, "model.diffusion_model.label_emb.0.0.weight": (8,)}, "is conditioned on a class, a picture"),
    "pix2pix": ({**SMALL, "model.diffusion_model.input_blocks.0.0.weight": (32, 8, 3, 3)}, "that of instruct-pix2pix"),
    "no vae": (without("first_stage"), "holds only unet, text_encoder: name a place for its vae in the models"),
    "no unet": (without("diffusion_model"), "holds only vae, text_encoder: name a place for its unet"),
    "anything": ({"a.weight": (2,)}, "holds no part of a Stable Diffusion checkpoint"),
    "missing": (without("out.2.weight"), "tensor out.2.weight is missing: fetch the file again"),
    "flat": ({**SMALL, "first_stage_model.encoder.conv_in.weight": (32,)}, "are none of a vae of Stable"),
    "no layers": (without("mlp.fc1"), "tensor encoder.layers.0.mlp.fc1.weight is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("shapes", "said"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_file_that_is_no_whole_checkpoint_is_called_by_its_name(shapes: Any, said: str, tmp_path: Path):
    file = write_weights(tmp_path / "one.safetensors", shapes)

    told = what_is_told(ModelSpec(name="m", path=str(file)))

    assert said in told
    assert str(file) in told


def test_weights_of_a_type_that_is_not_read_are_told_with_the_tensor(tmp_path: Path):
    file = write_weights(tmp_path / "eight.safetensors", SMALL, kind="F8_E4M3")

    told = what_is_told(ModelSpec(name="m", path=str(file)))

    assert "is F8_E4M3: must be one of F64, F32, F16, BF16; fetch the file in float16 or float32" in told


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def text(said: str) -> Callable[[Path], Any]:
    return lambda file: file.write_text(said)


def raw(said: bytes) -> Callable[[Path], Any]:
    return lambda file: file.write_bytes(said)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:1"
NO_WEIGHTS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "git lfs": (".safetensors", text(LFS), "is a Git LFS pointer .*`git lfs pull`"),
    "web page": (".safetensors", text("<!DOCTYPE html><html>log in"), "is a web page"),
    "text": (".safetensors", text("weights, honestly\n" * 9), "is a text and no safetensors file"),
    "zip": (".safetensors", raw(b"PK\x03\x04" + bytes(90)), "is a pickle under another name"),
    "pickle": (".safetensors", raw(b"\x80\x02" + bytes(90)), "is a pickle under another name"),
    "ckpt": (".ckpt", raw(b"PK\x03\x04"), "is a pickle that could run code when it is read: fetch its safetensors"),
    "gguf": (".gguf", raw(b"GGUF"), "is a file: name a folder in diffusers' format, or a .safetensors file"),
    "empty": (".safetensors", raw(b""), "is damaged (it is empty)"),
    "truncated": (".safetensors", shorten, "is damaged (it has .* bytes instead of"),
    "no header": (".safetensors", raw(bytes(100)), "is damaged (its header does not fit into it)"),
    "no json": (".safetensors", raw((20).to_bytes(8, "little") + b"{" * 20), "is damaged (its header cannot be read"),
    "missing": (".safetensors", lambda f: f.unlink(), "there is no file .*: check the path in the models file"),
}


@pytest.mark.parametrize(("suffix", "spoil", "said"), NO_WEIGHTS.values(), ids=NO_WEIGHTS.keys())
def test_what_is_no_safetensors_file_is_told_for_what_it_is(suffix: str, spoil: Any, said: str, tmp_path: Path):
    file = write_weights(tmp_path / f"one{suffix}", SMALL)
    spoil(file)

    told = what_is_told(ModelSpec(name="m", path=str(file)))

    assert all(piece in told for piece in said.split(".*")), told


def test_a_hub_cache_folder_and_a_folder_of_files_are_told_what_to_name_instead(tmp_path: Path):
    (tmp_path / "models--someone--tiny" / "snapshots").mkdir(parents=True)
    loose = tmp_path / "loose"
    loose.mkdir()
    file = write_weights(loose / "one.safetensors", SMALL)

    cache = what_is_told(ModelSpec(name="m", path=str(tmp_path / "models--someone--tiny")))
    files = what_is_told(ModelSpec(name="m", path=str(loose)))

    assert "is the hub's own cache folder and holds no model itself: name 'someone/tiny'" in cache
    assert f"name the file itself, such as {file}" in files


def test_paths_are_cut_for_whoever_asks_from_afar():
    spec = ModelSpec(name="m", path="/srv/my secret models/sd")
    told = "unet: /srv/my secret models/sd/unet/config.json: sample_size is null; /root/.cache/hub/x/model.safetensors"

    assert told_afar(spec, told) == "unet: sd/unet/config.json: sample_size is null; x/model.safetensors"


def test_the_models_file_goes_before_what_the_shapes_say(tmp_path: Path):
    file = write_weights(tmp_path / "one.safetensors", SMALL)
    unet = {"path": str(file), "config": {"sample_size": 16}}

    card = card_of(ModelSpec.model_validate({"name": "m", "path": str(file), "unet": unet}))

    assert (card.problem, card.defaults["width"]) == ("", 128)


def test_the_models_file_takes_files_a_mark_and_tells_of_a_dot_in_a_name(tmp_path: Path):
    write_weights(tmp_path / "one.safetensors", SMALL)
    text = '[models."sd1.5"]\npath = "one.safetensors"\nvae = "missing.safetensors"\nscheduler = "one.safetensors"\n'
    file = tmp_path / "models.toml"
    file.write_text("\ufeff" + text, encoding="utf-8")

    spec = read_models_file(file)["sd1.5"]

    assert (spec.path, spec.vae and spec.vae.path) == (
        str(tmp_path / "one.safetensors"),
        str(tmp_path / "missing.safetensors"),
    )
    assert spec.scheduler_source is not None
    file.write_text(text.replace('"sd1.5"', "sd1.5"))
    with pytest.raises(InvalidSettings, match=r'put the name in quotes, \[models\."sd1\.5"\]'):
        read_models_file(file)


def test_a_header_is_read_once_while_its_file_stays_as_it_is(tmp_path: Path):
    file = write_weights(tmp_path / "one.safetensors", {"a.weight": (2, 3)})
    assert read_header(file).shapes == {"a.weight": (2, 3)}

    write_weights(file, {"b.weight": (4, 4, 4)})

    assert read_header(file).shapes == {"b.weight": (4, 4, 4)}
