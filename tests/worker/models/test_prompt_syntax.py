"""Weighted and long prompts, layers of the text encoder, and words of one's own: encoded as they are defined, and as
diffusers does it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from transformers import CLIPTextModel

from sigmafarm_common.errors import InvalidRequest, ModelNotLoadable
from sigmafarm_common.models_file import ModelSpec, read_models_file
from sigmafarm_common.settings import PromptSyntax, RenderRequest
from sigmafarm_worker.engine.intake import MAX_CHUNKS, make_slot
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.clip_tokenizer import make_clip_tokenizer
from sigmafarm_worker.models.reading import Reader

A1111 = PromptSyntax.A1111
WIDTH = 32


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Model:
    return load_model(checkpoint)


def encoded(model: Model, text: str, *how: Any) -> torch.Tensor:
    (emb_TD,) = model.prompts.embeddings([model.prompts.tokens(text, *how)])
    return emb_TD


def test_a_prompt_without_syntax_is_the_same_by_both(model):
    assert model.prompts.tokens("ab, cd", A1111).ids == model.prompts.tokens("ab, cd").ids
    torch.testing.assert_close(encoded(model, "ab, cd", A1111), encoded(model, "ab, cd"))


def test_weights_multiply_the_hidden_states_and_leave_their_mean(model):
    plain, weighed = encoded(model, "ab cd"), encoded(model, "ab (cd:1.5)", A1111)
    first, num = model.prompts.tokens("ab").num_used - 1, model.prompts.tokens("cd").num_used - 2

    weights_T = torch.ones(77)
    weights_T[first : first + num] = 1.5
    heavy = plain * weights_T[:, None]
    torch.testing.assert_close(weighed, heavy * (plain.mean() / heavy.mean()), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(weighed, plain, atol=1e-3)


def test_a_long_prompt_is_its_chunks_one_behind_the_other_and_nothing_of_it_is_cut(model):
    tokens = model.prompts.tokens("a " * 100 + "BREAK bc", A1111)

    assert (len(tokens.ids), tokens.num_cut) == (3 * 77, 0)
    whole = encoded(model, "a " * 100 + "BREAK bc", A1111)
    for n, part in enumerate(("a " * 75, "a " * 25, "bc")):
        torch.testing.assert_close(whole[77 * n : 77 * (n + 1)], encoded(model, part), rtol=1e-4, atol=1e-5)


def test_a_prompt_of_more_chunks_than_a_lane_has_room_for_is_refused_with_the_number(model):
    fits = RenderRequest(prompt=" BREAK ".join(["a"] * MAX_CHUNKS), prompt_syntax=A1111)
    long = RenderRequest(prompt="a", negative_prompt=" BREAK ".join(["a"] * (MAX_CHUNKS + 1)), prompt_syntax=A1111)

    assert make_slot(model, fits, Any, None).prompt.num_tokens == 77 * MAX_CHUNKS  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="negative_prompt takes 17 chunks of 75 tokens: at most 16 are drawn"):
        make_slot(model, long, Any, None)  # type: ignore[arg-type]


def test_clip_skip_takes_diffusers_layer(model, checkpoint, monkeypatch):
    # diffusers 0.42 looks for the last norm in `text_model`, which transformers 5 has not any more.
    monkeypatch.setattr(CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None, requires_safety_checker=False)
    layers = model.prompts.num_layers
    assert layers > 1
    for skip in range(1, layers + 1):
        # diffusers counts from the layer before the last: its 1 is AUTOMATIC1111's 2.
        wanted, _ = pipe.encode_prompt("a cat", "cpu", 1, False, clip_skip=skip - 1 or None)
        torch.testing.assert_close(encoded(model, "a cat", PromptSyntax.PLAIN, skip), wanted[0], rtol=1e-4, atol=1e-5)


def test_layers_are_not_mixed_up_in_one_pass_and_one_that_is_not_there_is_refused(model):
    alone = [encoded(model, "xy", PromptSyntax.PLAIN, skip) for skip in (1, 2)]
    model.prompts._embeddings.clear()
    together = model.prompts.embeddings([model.prompts.tokens("xy", PromptSyntax.PLAIN, skip) for skip in (1, 2)])

    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        InvalidRequest, match=f"clip_skip is 24: the text encoder of model 'tiny' has {model.prompts.num_layers} layers"
    ):
        make_slot(model, RenderRequest(prompt="a", clip_skip=24), Any, None)  # type: ignore[arg-type]


# Words of one's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings in both formats: one vector as diffusers writes it, three as AUTOMATIC1111 does."""
    folder = tmp_path_factory.mktemp("embeddings")
    generator = torch.Generator().manual_seed(5)
    save_file({"<toy>": torch.randn(WIDTH, generator=generator)}, folder / "toy.safetensors")
    save_file({"emb_params": torch.randn(3, WIDTH, generator=generator)}, folder / "fine art.safetensors")
    save_file({"clip_l": torch.zeros(1, WIDTH), "clip_g": torch.zeros(1, 64)}, folder / "sdxl.safetensors")
    save_file({"emb_params": torch.zeros(1, 768)}, folder / "wide.safetensors")
    save_file({"emb_params": torch.full((1, WIDTH), torch.nan)}, folder / "nan.safetensors")
    (folder / "old.pt").write_bytes(b"\x80\x04")
    (folder / "text.safetensors").write_text("no tensors")
    return folder


@pytest.fixture(scope="module")
def wordy(checkpoint: Path, folder: Path) -> Model:
    embeddings = {"toy": str(folder / "toy.safetensors"), "fineart": str(folder / "fine art.safetensors")}
    return load_model(ModelSpec(name="tiny", path=str(checkpoint), embeddings=embeddings))


@pytest.mark.parametrize(
    "prompt", ["a <toy> b", "<fineart>", "a <fineart>, <toy><toy>", "a <other> b", "a " * 74 + "<fineart> b"]
)
def test_embeddings_of_ones_own_are_those_of_diffusers(prompt, wordy, checkpoint, folder):
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None, requires_safety_checker=False)
    pipe.load_textual_inversion(str(folder / "toy.safetensors"), token="<toy>")
    pipe.load_textual_inversion(str(folder / "fine art.safetensors"), token="<fineart>")

    wanted, _ = pipe.encode_prompt(prompt, "cpu", 1, False)

    torch.testing.assert_close(encoded(wordy, prompt), wanted[0], rtol=1e-4, atol=1e-5)


def test_a_bare_name_is_an_embedding_by_automatic1111s_syntax_alone(wordy):
    assert wordy.prompts.tokens("a toy b", A1111).ids == wordy.prompts.tokens("a <toy> b").ids
    assert wordy.prompts.tokens("a toy b").ids != wordy.prompts.tokens("a <toy> b").ids
    assert wordy.prompts.tokens("a (fineart:1.2)", A1111).weights[:6] == (1, 1, 1.2, 1.2, 1.2, 1)
    first, second = (wordy.prompts.tokens("a " * 74 + "fineart", A1111).ids[at : at + 77] for at in (0, 77))
    assert first[74:] == (first[1], 513, 513)
    assert second[1:4] == wordy.prompts.tokens("<fineart>").ids[1:4]


def test_a_plain_prompt_with_an_embedding_that_is_cut_says_what_was_left_out(wordy):
    tokens = wordy.prompts.tokens("a " * 74 + "<fineart> bc")

    assert tokens.num_cut == 4
    assert tokens.cut == "<fineart> bc"


def test_tokens_of_an_embedding_are_told_by_its_name(wordy):
    tokens = wordy.prompts.tokens("<toy><fineart>")

    assert [text for _, text in wordy.prompts.spelled(tokens.ids)][1:-1] == ["<toy>", *["<fineart>"] * 3]


def test_embeddings_change_the_models_fingerprint(wordy, model):
    assert wordy.fingerprint
    assert wordy.fingerprint != model.fingerprint


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("old.pt", "old.pt could run code when it is read: convert it to .safetensors"),
        ("wide.safetensors", "holds 1 x 768 numbers, the text encoder is 32 wide: it was learnt for another model"),
        ("sdxl.safetensors", "holds clip_g, clip_l: one tensor, or emb_params, is wanted; is it of SDXL"),
        ("nan.safetensors", "holds values that are not finite"),
        ("text.safetensors", "cannot be read as .safetensors"),
        ("gone.safetensors", "cannot be read as .safetensors"),
    ],
)
def test_a_file_that_is_no_embedding_of_this_model_is_refused_with_the_cure(file, words, checkpoint, folder):
    with pytest.raises(ModelNotLoadable, match=f"model 'm', embedding 'x': .*{words}"):
        load_model(ModelSpec(name="m", path=str(checkpoint), embeddings={"x": str(folder / file)}))


def test_the_models_file_names_embeddings_beside_itself(tmp_path):
    (tmp_path / "models.toml").write_text('[models.a]\npath = "p"\nembeddings = { cat-toy = "e/toy.safetensors" }\n')
    assert read_models_file(tmp_path / "models.toml")["a"].embeddings == {
        "cat-toy": str(tmp_path / "e/toy.safetensors")
    }

    (tmp_path / "models.toml").write_text('[models.a]\npath = "p"\nembeddings = { "<toy>" = "toy.safetensors" }\n')
    with pytest.raises(Exception, match="a word without spaces, commas, colons or brackets is wanted"):
        read_models_file(tmp_path / "models.toml")


def test_many_threads_may_read_prompts_of_both_kinds_at_once(wordy):
    failures: list[Exception] = []

    def work(text: str) -> None:
        try:
            for _ in range(20):
                wordy.prompts.tokens(text, A1111)
                wordy.prompts.tokens(text)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=("a (toy) " * n,)) for n in (1, 40, 90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_padding_is_left_out_and_the_same_token_before_the_end_is_not():
    reader = Reader(make_clip_tokenizer(pad_id=0), 77, {})

    assert [text for _, text in reader.spelled(reader.read_plain("boat! !").ids)] == [
        "<|startoftext|>",
        "boat",
        "!",
        "!",
        "<|endoftext|>",
    ]
