"""The vocabulary knows the captions' words whole, and every other word in pieces."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from demo_model.captions import caption
from demo_model.compose import random_picture
from demo_model.tokenizer import learn_merges, load_tokenizer, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder, seed=0)
    return load_tokenizer(folder)


def test_words_of_captions_are_one_token_each(tokenizer: CLIPTokenizer) -> None:
    rng = random.Random(1)
    for _ in range(100):
        text = caption(random_picture(rng), rng)

        ids = tokenizer(text).input_ids

        assert len(ids) - 2 == len(text.replace(",", " ,").split()), text


@pytest.mark.parametrize("text", ["unicorn", "naïve zebra", "a 猫 in the café", "xyzzy-42!"])
def test_unknown_words_come_back_whole(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids

    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_the_end_has_the_highest_id_and_pads(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a red circle", padding="max_length", max_length=77).input_ids

    assert len(ids) == 77
    assert ids[0] == tokenizer.bos_token_id == len(tokenizer) - 2
    assert ids[4:] == [len(tokenizer) - 1] * 73


def test_capitals_do_not_matter(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer("A Red Circle").input_ids == tokenizer("a red circle").input_ids


def test_the_commonest_pair_is_merged_first() -> None:
    from collections import Counter

    merges = learn_merges(Counter({"aab": 5, "ab": 9, "cd": 3}), 2)

    assert merges == [("a", "b</w>"), ("a", "ab</w>")]
