"""Learn a byte-level BPE vocabulary from captions, in the order of CLIP's own: bytes, bytes that end a word, merges.

Every byte is in it, so a word that was never seen still has ids. vocab.json and merges.txt are all that
transformers' CLIPTokenizer needs.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path

from transformers import CLIPTokenizer

from demo_model.captions import caption
from demo_model.compose import SHARES, random_of_kind
from demo_model.networks import NUM_POSITIONS

#: Ids at most, the two special ones included.
MAX_IDS = 1296
#: Captions whose words the merges are learnt from.
NUM_CAPTIONS = 20_000
END_OF_WORD = "</w>"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"

Pair = tuple[str, str]


def byte_symbols() -> list[str]:
    """Give the printable character that stands for each byte, in CLIP's (GPT-2's) order of bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + k) for k in range(len(others))]


def learn_merges(words: Counter[str], max_merges: int) -> list[Pair]:
    """Join the commonest neighbours again and again, until every word is one symbol or the limit is reached."""
    splits = {word: [*word[:-1], word[-1] + END_OF_WORD] for word in words}
    merges: list[Pair] = []
    while len(merges) < max_merges:
        pairs: Counter[Pair] = Counter()
        for word, symbols in splits.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        splits = {word: _join(symbols, best) for word, symbols in splits.items()}
    return merges


def _join(symbols: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def caption_words(seed: int) -> Counter[str]:
    """Count the words of many random captions."""
    rng = random.Random(seed)
    kinds = list(SHARES)
    captions = (caption(random_of_kind(rng.choice(kinds), rng), rng) for _ in range(NUM_CAPTIONS))
    return Counter(word for text in captions for word in text.replace(",", " ").split())


def make_tokenizer(folder: Path, seed: int) -> None:
    """Write vocab.json, merges.txt and the two small configs that CLIPTokenizer reads."""
    symbols = byte_symbols()
    merges = learn_merges(caption_words(seed), MAX_IDS - 2 - 2 * len(symbols))
    ordered = [*symbols, *(s + END_OF_WORD for s in symbols), *(a + b for a, b in merges), BEGIN, END]
    vocab = {symbol: k for k, symbol in enumerate(dict.fromkeys(ordered))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    special = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {
        **special,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": NUM_POSITIONS,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load what `make_tokenizer` wrote."""
    return CLIPTokenizer.from_pretrained(folder)
