"""CLIP's real vocabulary, which is on PyPI inside open_clip_torch (MIT).

That wheel is not installed, for it would bring torchvision and more: `make test` fetches the file (`pip download
--no-deps`) into the virtual environment's folder `clip`, and the vocabulary is read from there.
"""

from __future__ import annotations

import gzip
import json
import sys
import zipfile
from pathlib import Path

#: The list of merges within the wheel, one a line behind a line with its version.
LIST = "open_clip/bpe_simple_vocab_16e6.txt.gz"
#: Words of the vocabulary: 256 bytes, the same at the end of a word, the merges, start and end.
NUM_WORDS = 49_408
START, END = "<|startoftext|>", "<|endoftext|>"


def find_wheel() -> Path | None:
    """Return the wheel that was fetched, None if it was not."""
    return next(iter(sorted(Path(sys.prefix, "clip").glob("open_clip_torch-*.whl"))), None)


def write_vocabulary(wheel: Path, folder: Path) -> Path:
    """Write a tokenizer's folder as CLIPTokenizer reads it, and return it."""
    merges = gzip.decompress(zipfile.ZipFile(wheel).read(LIST)).decode().splitlines()
    letters = _letters()
    merges = merges[1 : NUM_WORDS - 2 - 2 * len(letters) + 1]
    words = [*letters, *(each + "</w>" for each in letters), *(each.replace(" ", "") for each in merges), START, END]
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *merges)) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": START, "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "unk_token": END, "pad_token": END}))
    return folder


def _letters() -> list[str]:
    """Return the 256 bytes as the letters that stand for them: printable ones for themselves and first, all others for
    letters from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = 256 - len(printable)
    return [chr(each) for each in printable] + [chr(256 + n) for n in range(others)]
