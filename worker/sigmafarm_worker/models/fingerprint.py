"""What a model is made of, in a few letters, so that two models under one name can be told apart.

Of every tensor its name, type, shape and a sample of its values count (a fine-tuned checkpoint differs from its parent
in nothing else), of every network its configuration, of the tokenizer its words, of the scheduler what LMS follows. How
the files are cut, what they are called and in what precision they are drawn with does not. A sample is 512 bytes, so
that a fingerprint of Stable Diffusion 1.5 reads about a megabyte of its four gigabytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sigmafarm_common.errors import ModelNotLoadable
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_worker.models.checkpoint import NETWORKS, network_files
from sigmafarm_worker.sampling.lms import SchedulerSettings
from sigmafarm_worker.telling import first_line, tell

#: Letters of a fingerprint: one in 2^48 models shares another's.
NUM_LETTERS = 12
#: Bytes of a tensor that are read, from its middle.
SAMPLE_BYTES = 512
#: What a network's configuration says of its writer and not of itself.
_WRITERS_KEYS = frozenset({"transformers_version", "torch_dtype", "dtype", "architectures"})


def fingerprint(
    spec: ModelSpec, root: Path | None, vocabulary: Mapping[str, int | str], scheduler: Mapping[str, Any]
) -> str:
    """Return the fingerprint of a model that was loaded; empty, with a line in the log, if its files do not let
    themselves be read a second time: that keeps no model from serving."""
    digest = hashlib.sha256()
    try:
        for piece in _pieces(spec, root, vocabulary, scheduler):
            digest.update(hashlib.sha256(piece).digest())
    except (OSError, ValueError, LookupError, TypeError, ModelNotLoadable) as error:
        tell("warning", "model.no_fingerprint", model=spec.name, error=first_line(error))
        return ""
    return digest.hexdigest()[:NUM_LETTERS]


def _pieces(
    spec: ModelSpec, root: Path | None, vocabulary: Mapping[str, int | str], scheduler: Mapping[str, Any]
) -> Iterator[bytes]:
    yield _canonical(asdict(SchedulerSettings.parse(scheduler)))
    yield _canonical(vocabulary)
    for part in NETWORKS:
        config, files = network_files(spec, root, part)
        said = json.loads(config.read_text(encoding="utf-8"))
        yield _canonical({k: v for k, v in said.items() if not k.startswith("_") and k not in _WRITERS_KEYS})
        tensors = {name: piece for file in files for name, piece in _tensors(file)}
        for name in sorted(tensors):
            yield tensors[name]


def _tensors(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each tensor of a safetensors file: its name, and what counts of it."""
    with file.open("rb") as opened:
        header_bytes = int.from_bytes(opened.read(8), "little")
        header: dict[str, Any] = json.loads(opened.read(header_bytes))
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            begin, end = tensor["data_offsets"]
            size_bytes = min(SAMPLE_BYTES, end - begin)
            opened.seek(8 + header_bytes + begin + (end - begin - size_bytes) // 2)
            yield name, _canonical([name, tensor["dtype"], tensor["shape"]]) + opened.read(size_bytes)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
