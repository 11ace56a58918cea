"""Loading a model from its places, and the message for everything that can be wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_card import card_of
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker import bundled
from sigmafarm_worker.models import bundled_model_path, default_dtype, load_model
from sigmafarm_worker.models import checkpoint as checkpoint_module
from sigmafarm_worker.models.latent_range import LatentRange
from sigmafarm_worker.models.random_checkpoint import main, make_random_checkpoint


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def change_json(file: Path, **changed: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def test_a_whole_checkpoint_loads_with_its_native_size_and_defaults(checkpoint):
    model = load_model(checkpoint)

    assert (model.name, model.height, model.width, model.vae_factor) == ("tiny", 64, 64, 8)
    assert model.defaults == {"height": 64, "width": 64, "karras_sigmas": False}
    assert model.dtype == torch.float32
    assert model.prediction_type == "epsilon"
    assert model.card().description == "random weights: draws noise"
    assert not any(p.requires_grad for p in model.unet.parameters())


def test_every_network_takes_the_dtype_that_was_asked_for(checkpoint):
    model = load_model(checkpoint, dtype=torch.bfloat16)

    assert {p.dtype for p in (*model.unet.parameters(), *model.vae.parameters())} == {torch.bfloat16}
    assert model.prompts.embeddings([model.prompts.tokens("x")])[0].dtype == torch.bfloat16


def test_a_gpu_gets_fp16_and_a_cpu_float32():
    assert default_dtype("cuda:1") is torch.float16
    assert default_dtype("cpu") is torch.float32


def test_parts_named_apart_draw_the_same_picture(checkpoint, draw_alone, error):
    from sigmafarm_common.settings import RenderRequest

    scheduler = json.loads((checkpoint / "scheduler" / "scheduler_config.json").read_text())
    spec = ModelSpec.model_validate(
        {
            "name": "apart",
            "tokenizer": str(checkpoint),
            "text_encoder": str(checkpoint / "text_encoder"),
            "unet": {"path": str(checkpoint), "subfolder": "unet"},
            "vae": {"path": str(checkpoint / "vae")},
            "scheduler": scheduler,
        }
    )
    request = RenderRequest(prompt="a cat", num_inference_steps=3, seed=1)

    drawn = draw_alone(request, load_model(spec))

    assert error(drawn.latents, draw_alone(request).latents) < 1e-6


def test_a_part_can_be_swapped_and_the_scheduler_overridden(checkpoint, v_checkpoint):
    spec = ModelSpec.model_validate(
        {
            "name": "swapped",
            "path": str(checkpoint),
            "vae": {"path": str(v_checkpoint), "subfolder": "vae"},
            "scheduler": {"prediction_type": "v_prediction", "use_karras_sigmas": True},
            "defaults": {"num_inference_steps": 7, "height": 128},
        }
    )

    model = load_model(spec)

    assert model.prediction_type == "v_prediction"
    assert model.scheduler["beta_end"] == 0.012
    assert model.defaults == {"height": 128, "width": 64, "karras_sigmas": True, "num_inference_steps": 7}
    assert model.card().defaults["num_inference_steps"] == 7


def test_a_checkpoint_may_carry_its_own_defaults_and_the_models_file_goes_before_them(copy):
    own = {
        "defaults": {"guidance_scale": 4, "num_inference_steps": 25},
        "description": "shapes",
        "preview": {"latent_rgb_bias": [0, 0, 0.5]},
    }
    (copy / "sigmafarm.json").write_text(json.dumps(own))

    model = load_model(ModelSpec(name="m", path=str(copy), defaults={"num_inference_steps": 12}))

    assert (model.defaults["guidance_scale"], model.defaults["num_inference_steps"]) == (4, 12)
    assert (model.description, model.preview.bias.tolist()) == ("shapes", [0, 0, 0.5])
    assert model.latent_range == LatentRange()


def test_fp16_variant_files_serve_where_the_plain_ones_are_missing(copy):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(copy / "unet" / "diffusion_pytorch_model.fp16.safetensors")

    assert load_model(copy).height == 64


def test_a_text_encoder_inside_a_whole_clip_model_is_taken_out_of_it(copy):
    config = json.loads((copy / "text_encoder" / "config.json").read_text())
    whole = {"model_type": "clip", "architectures": ["CLIPModel"], "text_config": config, "vision_config": {}}
    (copy / "text_encoder" / "config.json").write_text(json.dumps(whole))

    assert load_model(copy).prompts.width == 32


def remove(part: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / part)


def only_bin(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")


def truncate(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def lose_tensors(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "text_encoder" / "model.safetensors"
    tensors = {k: v for k, v in load_file(file).items() if "layers.1" not in k}
    save_file(tensors, file, metadata={"format": "pt"})


def lose_unet_tensors(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "mid_block" not in k}, file)


def narrow_text_encoder(folder: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    shutil.rmtree(folder / "text_encoder")
    small = CLIPTextConfig(
        vocab_size=514, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    CLIPTextModel(small).save_pretrained(folder / "text_encoder")


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "is no diffusers checkpoint, it has no model_index.json"),
    "no unet": (remove("unet"), "unet: there is no folder .*unet: add it"),
    "no scheduler": (remove("scheduler"), "scheduler: no folder holds its settings"),
    "no words": (lambda f: (f / "tokenizer" / "merges.txt").unlink(), "lacks vocab.json and merges.txt"),
    "broken words": (lambda f: (f / "tokenizer" / "vocab.json").write_text("{"), "tokenizer: .* cannot be loaded"),
    "pickle": (only_bin, "unet: .* has only diffusion_pytorch_model.bin, a pickle that could run code"),
    "no weights": (
        lambda f: (f / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
        "vae: .* has no weights, diffusion_pytorch_model.safetensors is missing",
    ),
    "truncated": (truncate, "vae: .* is damaged"),
    "empty weights": (
        lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b""),
        "unet: .* is damaged",
    ),
    "fewer tensors": (lose_tensors, "text_encoder: .*num_hidden_layers is 2: the weights have 1; take both"),
    "fewer unet tensors": (lose_unet_tensors, r"unet: .*(lack \d+ tensors|cannot be loaded)"),
    "other shape": (
        lambda f: change_json(f / "unet" / "config.json", block_out_channels=[16, 32]),
        r"unet: .*config.json: block_out_channels is \[16, 32\]: the weights have \[32, 64\]",
    ),
    "no json": (lambda f: (f / "unet" / "config.json").write_text("{"), "config.json is no JSON"),
    "list": (lambda f: (f / "unet" / "config.json").write_text("[]"), "config.json holds no JSON object"),
    "no config": (lambda f: (f / "vae" / "config.json").unlink(), "config.json cannot be read"),
    "wrong unet": (
        lambda f: change_json(f / "unet" / "config.json", _class_name="SD3Transformer2DModel"),
        "unet: .* holds a SD3Transformer2DModel, not a UNet2DConditionModel: .*1.x and 2.x",
    ),
    "wrong encoder": (
        lambda f: change_json(
            f / "text_encoder" / "config.json", architectures=["T5EncoderModel"], model_type="t5"
        ),
        "text_encoder: .* holds a T5EncoderModel, not a CLIPTextModel",
    ),
    "flow": (
        lambda f: change_json(f / "scheduler" / "scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"),
        "made for 'FlowMatchEulerDiscreteScheduler' \\(_class_name\\), whose noise levels LMS cannot follow",
    ),
    "betas": (
        lambda f: change_json(f / "scheduler" / "scheduler_config.json", beta_schedule="sigmoid"),
        "scheduler: .*scheduler_config.json: beta_schedule is 'sigmoid': must be one of linear",
    ),
    "narrow": (narrow_text_encoder, "its text encoder is 16 wide, its UNet wants 32"),
    "bad defaults": (
        lambda f: (f / "sigmafarm.json").write_text('{"defaults": {"num_inference_steps": 0}}'),
        "defaults in sigmafarm.json do not fit: num_inference_steps is 0: must be at least 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_whatever_is_wrong_with_a_checkpoint_is_said_with_its_place(damage, message, copy):
    damage(copy)

    with pytest.raises(ModelNotLoadable, match=message) as caught:
        load_model(copy)
    assert "model 'copy'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_is_nothing_a_file_or_a_hub_name_out_of_reach_is_said_so(tmp_path, monkeypatch):
    def offline(name: str, **_: Any) -> str:
        raise OSError("no network\nwith details")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    file = tmp_path / "model.gguf"
    file.touch()

    with pytest.raises(ModelNotLoadable, match="there is no folder /nowhere/at/all: check the path"):
        load_model("/nowhere/at/all")
    with pytest.raises(
        ModelNotLoadable, match=r"is a file: name a folder in diffusers' format, or a \.safetensors file"
    ):
        load_model(file)
    with pytest.raises(ModelNotLoadable, match=r"could not be fetched from the hub \(no network\): check the name"):
        load_model("CompVis/stable-diffusion-v1-4")


def test_a_hub_name_is_fetched_without_duplicates_and_loaded_like_a_folder(checkpoint, monkeypatch):
    asked: dict[str, Any] = {}

    def fetch(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)

    model = load_model("someone/tiny")

    assert model.name == "tiny"
    assert asked["name"] == "someone/tiny"
    assert "unet/*.safetensors" in asked["allow_patterns"]
    assert not any(p.endswith((".bin", ".ckpt", ".py")) for p in asked["allow_patterns"])
    assert asked["ignore_patterns"] == list(checkpoint_module._HUB_DUPLICATES)


def test_a_hub_name_is_served_from_the_local_cache_without_a_network(checkpoint, tmp_path, monkeypatch):
    cached = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(checkpoint, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    file = "someone/tiny/vae/diffusion_pytorch_model.safetensors"

    model = load_model(ModelSpec.model_validate({"path": "someone/tiny", "vae": file}))

    assert (model.fingerprint, model.parts["unet"], model.parts["vae"]) == (
        load_model(checkpoint).fingerprint,
        "someone/tiny",
        file,
    )


def test_the_bundled_model_is_a_checkpoint_or_its_absence_has_a_cure(monkeypatch, tmp_path):
    monkeypatch.setattr(bundled, "find_bundled_folder", lambda: None)

    with pytest.raises(ModelNotLoadable, match=r"python -m sigmafarm_worker\.models\.random_checkpoint FOLDER"):
        bundled_model_path()


def test_random_checkpoints_are_the_same_bytes_each_time(tmp_path, checkpoint):
    again = make_random_checkpoint(tmp_path / "again")

    for file in sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file()):
        assert (again / file).read_bytes() == (checkpoint / file).read_bytes(), file


def test_random_checkpoint_is_a_command(tmp_path):
    main([str(tmp_path / "made"), "--sample-size", "16", "--prediction-type", "sample"])

    model = load_model(tmp_path / "made")
    assert (model.height, model.prediction_type) == (128, "sample")


def test_a_checkpoint_decides_its_sampler_only_if_the_models_file_says_so(copy):
    said = {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"}
    change_json(copy / "scheduler" / "scheduler_config.json", **said)
    path = str(copy)
    left, named = {"sampler": "checkpoint"}, {"defaults": {"sampler": "DDIMScheduler"}}

    drawn_with = [
        RenderRequest(prompt="a").resolved(load_model(spec).defaults).sampler
        for spec in (
            ModelSpec(path=path),
            ModelSpec.model_validate({"path": path, **left}),
            ModelSpec.model_validate({"path": path, **left, **named}),
        )
    ]

    assert drawn_with == ["lms", "dpmpp_2m_sde", "ddim"]
    assert card_of(ModelSpec.model_validate({"path": path, **left})).defaults["sampler"] == "dpmpp_2m_sde"


def test_a_scheduler_that_is_no_sampler_here_cannot_decide(copy):
    change_json(copy / "scheduler" / "scheduler_config.json", _class_name="EDMEulerScheduler")

    assert load_model(copy).scheduler["_class_name"] == "EDMEulerScheduler"
    with pytest.raises(ModelNotLoadable, match=r"but EDMEulerScheduler with its options is none of lms, euler"):
        load_model(ModelSpec(path=str(copy), sampler="checkpoint"))
