"""All that a checkpoint's files say is judged: every option of the classes that read them has a rule, or is unused."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import diffusers
import pytest
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_card import card_of
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.samplers import FOLLOWED, SAMPLERS
from sigmafarm_common.weights import network_rules, scheduler_rules
from sigmafarm_worker.models import load_model
from sigmafarm_worker.sampling.lookup import find_table
from sigmafarm_worker.sampling.probe import LINEAR


def options(kind: Any) -> set[str]:
    return set(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"}


@pytest.mark.parametrize(
    ("kind", "rules", "unused"),
    [
        (diffusers.UNet2DConditionModel, network_rules.UNET, network_rules.UNUSED["unet"]),
        (diffusers.AutoencoderKL, network_rules.VAE, network_rules.UNUSED["vae"]),
    ],
)
def test_every_option_of_a_network_has_a_rule_or_is_unused(kind: Any, rules: Iterable[str], unused: set[str]):
    assert options(kind) <= set(rules) | unused


def test_every_option_of_a_sampler_has_a_rule_or_is_unused():
    known = set(scheduler_rules.SCHEDULER) | scheduler_rules.UNUSED | set(LINEAR)

    for sampler in SAMPLERS:
        if sampler.scheduler:
            assert not options(getattr(diffusers, sampler.scheduler)) - known - set(sampler.options), sampler.name
    assert set(FOLLOWED) == set(KarrasDiffusionSchedulers.__members__)


#: For each file values that broke a library, or drew something else, when nobody looked at them.
BAD_VALUES: dict[str, dict[str, list[Any]]] = {
    "unet/config.json": {
        "act_fn": [None, 5],
        "layers_per_block": [10**9, 2, [1]],
        "cross_attention_dim": [10**9, 64],
        "mid_block_type": [5, "other"],
        "time_embedding_type": [None, "fourier"],
        "conv_in_kernel": [0, "3"],
        "num_class_embeds": [4],
        "norm_eps": [512],
        "norm_num_groups": [None],
        "attention_head_dim": [512, [4]],
        "num_attention_heads": [4],
        "only_cross_attention": [None],
    },
    "vae/config.json": {
        "act_fn": [None, [1]],
        "down_block_types": [..., 5, []],
        "layers_per_block": [10**9, 2],
        "norm_num_groups": [None, ...],
        "mid_block_add_attention": [None, False],
        "use_quant_conv": [0, False],
        "in_channels": [10**9, 4],
        "scaling_factor": [1e9],
    },
    "text_encoder/config.json": {
        "num_hidden_layers": [10**9, 3, ...],
        "vocab_size": [10**9, 512, ...],
        "intermediate_size": [10**9, 128],
        "layer_norm_eps": [512],
        "use_attention_mask": ["yes", 1],
    },
    "tokenizer/tokenizer_config.json": {
        "model_max_length": [0, -1, 1.5, "77", [], True],
        "pad_token": [None, "", 5, {}],
        "eos_token": [None, ["x"]],
        "padding_side": [None, "top"],
        "added_tokens_decoder": [[], {"a": {}}],
        "extra_special_tokens": [5, [1]],
        "model_input_names": [None, []],
    },
    "scheduler/scheduler_config.json": {
        "_class_name": [None, [1], {}, "FlowMatchEulerDiscreteScheduler"],
        "beta_schedule": ["", "sigmoid"],
        "trained_betas": [[0.5]],
        "use_beta_sigmas": [None, True, []],
        "solver_type": [None, 1, "other"],
        "solver_order": [0, "2", True],
        "final_sigmas_type": [None, "one"],
        "lambda_min_clipped": [None, 512, "x"],
        "use_flow_sigmas": [True],
        "set_alpha_to_one": [None, 0],
        "original_inference_steps": [0],
        "timestep_scaling": [None],
    },
    "sigmafarm.json": {"preview": [{"latent_rgb_factors": [[0, 0, 0]]}, {"latent_rgb_bias": [0, 0, None]}]},
}  # fmt: skip
CASES = [(file, key, value) for file, keys in BAD_VALUES.items() for key, values in keys.items() for value in values]


@pytest.mark.parametrize(("file", "key", "value"), CASES, ids=[f"{f}-{k}-{v}" for f, k, v in CASES])
def test_the_card_and_the_worker_refuse_what_does_not_fit_by_file_key_and_value(
    file: str, key: str, value: Any, checkpoint: Path, tmp_path: Path
):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    said = {**json.loads((copy / file).read_text()), key: value}
    (copy / file).write_text(json.dumps({name: each for name, each in said.items() if each is not ...}))

    problem = card_of(ModelSpec(name="m", path=str(copy))).problem

    shown = "null" if value is None else str(value)[:10]
    assert key in problem
    assert value is ... or shown.strip("[]{}") in problem
    with pytest.raises(ModelNotLoadable, match=key):
        load_model(copy)


def test_what_no_loop_reads_breaks_no_model(checkpoint: Path, tmp_path: Path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    odd = {
        "unet": {"dropout": "x", "addition_time_embed_dim": []},
        "vae": {"sample_size": None, "force_upcast": "x"},
        "text_encoder": {
            "dtype": [],
            "torch_dtype": "none",
            "return_dict": False,
            "eos_token_id": [],
            "attention_dropout": None,
            "initializer_range": -1,
            "quantization_config": 5,
            "attn_implementation": 5,
        },
    }
    for part, keys in odd.items():
        file = copy / part / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))

    model = load_model(copy)

    assert model.prompts.embeddings([model.prompts.tokens("a cat")])[0].isfinite().all()
    assert model.fingerprint == load_model(checkpoint).fingerprint


def test_what_the_rules_let_pass_each_sampler_can_read():
    settings: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    settings |= {"solver_order": 3, "predictor_order": 1, "corrector_order": 1, "lambda_min_clipped": -5.1}
    settings |= {"solver_type": "bh2", "final_sigmas_type": "zero", "variance_type": None, "disable_corrector": []}

    for sampler in SAMPLERS:
        assert len(find_table(sampler.name, 4, settings).sigmas) >= 4


def test_words_that_no_encoder_knows_are_told_when_the_model_is_loaded(checkpoint: Path, tmp_path: Path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    file = copy / "tokenizer" / "vocab.json"
    words = json.loads(file.read_text())
    bad: dict[str, dict[str, Any]] = {
        "its tokenizer has 5001 words, its text encoder 514": {**words, "a": 5000},
        "cannot be loaded": {word: str(index) for word, index in words.items()},
    }

    for said, vocabulary in bad.items():
        file.write_text(json.dumps(vocabulary))

        with pytest.raises(ModelNotLoadable, match=said):
            load_model(copy)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"])
def test_a_tokenizer_that_was_not_fetched_is_told_without_torch(name: str, checkpoint: Path, tmp_path: Path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / "tokenizer" / name).write_text("version https://git-lfs.github.com/spec/v1\n")

    assert f"{name} is a Git LFS pointer" in card_of(ModelSpec(name="m", path=str(copy))).problem


def test_a_pipe_a_home_that_nobody_has_and_an_embedding_that_is_missing_are_told(checkpoint: Path, tmp_path: Path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    missing = ModelSpec(name="m", path=str(copy), embeddings={"cat": str(tmp_path / "cat.safetensors")})

    assert "embedding 'cat': " in card_of(missing).problem
    assert "cannot be looked at" in card_of(ModelSpec(name="m", path="~nobody-has-this-home/x")).problem
    (copy / "unet" / "config.json").unlink()
    os.mkfifo(copy / "unet" / "config.json")
    assert "is a pipe or a device and no file" in card_of(ModelSpec(name="m", path=str(copy))).problem
