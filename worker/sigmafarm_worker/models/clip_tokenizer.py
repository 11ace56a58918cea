"""CLIP's own tokenizer, for a checkpoint in one file: such a file holds no words, and all were trained with these.

The merges come with the package (clip_words/); the vocabulary follows from them: every byte, every byte that ends a
word, the merges in their order, start and end.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

from transformers import CLIPTokenizer

#: Tokens of a prompt, as CLIP.
NUM_TOKENS = 77
START_TOKEN, END_TOKEN = "<|startoftext|>", "<|endoftext|>"
#: Where the merges lie, one a line.
MERGES_FILE = Path(__file__).parent / "clip_words" / "merges.txt.gz"


def make_clip_tokenizer(*, pad_id: int) -> CLIPTokenizer:
    """Return the tokenizer with the padding that a text encoder wants: the end token in Stable Diffusion 1.x, id 0
    (an exclamation mark) in 2.x."""
    merges = read_clip_merges()
    words = clip_words(merges)
    vocabulary = {word: index for index, word in enumerate(words)}
    pad = words[pad_id] if pad_id < len(words) else END_TOKEN
    pairs: list[str] = [tuple(merge.split(" ")) for merge in merges]  # pyright: ignore[reportAssignmentType]
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, pad_token=pad, model_max_length=NUM_TOKENS)


def read_clip_merges() -> list[str]:
    """Return CLIP's 48,894 merges, each two words with a blank between, the commonest first."""
    return gzip.decompress(MERGES_FILE.read_bytes()).decode().splitlines()


def clip_words(merges: Sequence[str]) -> list[str]:
    """Return the words of a vocabulary in CLIP's form, by their ids."""
    letters = _byte_letters()
    ends = [letter + "</w>" for letter in letters]
    return [*letters, *ends, *(merge.replace(" ", "") for merge in merges), START_TOKEN, END_TOKEN]


def _byte_letters() -> list[str]:
    """Return the character that stands for each byte, in CLIP's order: printable bytes stand for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
