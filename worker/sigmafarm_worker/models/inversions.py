"""Textual inversion: words of one's own, each of which stands for vectors that were learnt for the text encoder.

Files are .safetensors, as diffusers writes them (one tensor under the word's name) or as AUTOMATIC1111 does
(`emb_params`). The vectors become rows of the text encoder's table of tokens, behind its own. In a prompt a word stands
in angle brackets, `<cat-toy>`; with AUTOMATIC1111's syntax the bare word does, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.model_folder import PICKLES

#: AUTOMATIC1111's name of the vectors in a file.
A1111_KEY = "emb_params"
#: Types that vectors may have.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: Ids of the tokens that each word stands for, by word.
Inversions = Mapping[str, tuple[int, ...]]


def read_vectors(what: str, files: Mapping[str, str], width: int, max_vectors: int) -> dict[str, Tensor]:
    """Return the vectors [n, D] of each word, from the file of each. Raises ModelNotLoadable."""
    return {word: _read(f"{what}, embedding {word!r}", Path(file), width, max_vectors) for word, file in files.items()}


def add_vectors(text_encoder: Any, vectors: Mapping[str, Tensor]) -> Inversions:
    """Put vectors behind the text encoder's own rows, and return which tokens each word stands for."""
    if not vectors:
        return {}
    table = text_encoder.get_input_embeddings()
    first, found = table.num_embeddings, dict[str, tuple[int, ...]]()
    for word, vectors_ND in vectors.items():
        found[word] = tuple(range(first, first + len(vectors_ND)))
        first += len(vectors_ND)
    rows = torch.cat([table.weight.detach(), *(each.to(table.weight) for each in vectors.values())])
    text_encoder.set_input_embeddings(torch.nn.Embedding.from_pretrained(rows))
    return found


def digests(vectors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what each word's vectors are, for the fingerprint of the model."""
    data = {word: vectors_ND.float().numpy().tobytes() for word, vectors_ND in vectors.items()}
    return {f"<{word}>": hashlib.sha256(each).hexdigest() for word, each in data.items()}


def _read(what: str, file: Path, width: int, max_vectors: int) -> Tensor:
    if file.suffix in PICKLES:
        raise ModelNotLoadable(f"{what}: {file} could run code when it is read: convert it to .safetensors")
    try:
        tensors = load_file(file)
    except Exception as error:
        raise ModelNotLoadable(
            f"{what}: {file} cannot be read as .safetensors ({str(error)[:200]}): fetch it again, or correct its path"
        ) from None
    if A1111_KEY not in tensors and len(tensors) != 1:
        keys = ", ".join(sorted(tensors)[:5])
        raise ModelNotLoadable(f"{what}: {file} holds {keys}: one tensor, or {A1111_KEY}, is wanted; is it of SDXL?")
    found = tensors[A1111_KEY] if A1111_KEY in tensors else next(iter(tensors.values()))
    vectors_ND = found[None] if found.ndim == 1 else found
    if vectors_ND.ndim != 2 or vectors_ND.shape[1] != width:
        shape = " x ".join(str(n) for n in found.shape)
        raise ModelNotLoadable(
            f"{what}: {file} holds {shape} numbers, the text encoder is {width} wide: it was learnt for another model"
        )
    if vectors_ND.dtype not in FLOATS:
        raise ModelNotLoadable(f"{what}: {file} holds {vectors_ND.dtype}: fetch it in float16 or float32")
    if not 0 < len(vectors_ND) <= max_vectors:
        raise ModelNotLoadable(f"{what}: {file} holds {len(vectors_ND)} vectors: from 1 to {max_vectors} can be drawn")
    if not vectors_ND.isfinite().all():
        raise ModelNotLoadable(f"{what}: {file} holds values that are not finite: fetch it again")
    return vectors_ND
