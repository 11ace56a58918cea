"""The header of a safetensors file: names, types and shapes of its tensors, and what its writer noted.

A file that is none of that is told apart by its first bytes, since the cure depends on what it is instead.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sigmafarm_common.errors import ModelNotLoadable

#: The longest header, as safetensors' own readers have it.
MAX_HEADER_BYTES = 100_000_000
#: Bytes of each number, by the types that a network may be read from.
FLOATS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_LETTERS: Mapping[str, str] = {"F64": "d", "F32": "f", "F16": "e", "BF16": "f"}
#: What Git LFS leaves where a file was not fetched, what a web server sends instead of one, and what pickles are.
_LFS, _ZIP, _PICKLE = b"version https://git-lfs", b"PK\x03\x04", b"\x80"
_PAGES = (b"<!doctype", b"<html", b"<?xml")
_CONVERT = "convert it to safetensors (save_pretrained with safe_serialization=True), or fetch the safetensors file"

#: Headers that are kept while their files stay as they are: submitting asks for a model's native size.
NUM_CACHED = 32

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What is known of a file, or of several that belong together, before a weight is read."""

    #: Shape and type ("F16", ...) of each tensor.
    shapes: Mapping[str, Shape]
    types: Mapping[str, str]
    #: What the writer noted; texts.
    metadata: Mapping[str, str]
    #: Where each tensor lies: its file, and the place of its first byte there.
    files: Mapping[str, Path]
    begins: Mapping[str, int]

    def under(self, prefix: str) -> Mapping[str, Shape]:
        """Return the shapes of the tensors whose names begin with `prefix`, by the rest of their names."""
        return {name.removeprefix(prefix): shape for name, shape in self.shapes.items() if name.startswith(prefix)}

    def numbers(self, name: str) -> list[float]:
        """Read a small tensor. Raises ModelNotLoadable if its numbers are none that a network may have."""
        kind, count = self.types[name], math.prod(self.shapes[name])
        if kind not in FLOATS:
            raise ModelNotLoadable(f"{self.files[name]}: tensor {name} is {kind}: must be one of {', '.join(FLOATS)}")
        with self.files[name].open("rb") as opened:
            opened.seek(self.begins[name])
            data = opened.read(count * FLOATS[kind])
        if kind == "BF16":  # the upper half of a float32
            data = b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2))
        return list(struct.unpack(f"<{count}{_LETTERS[kind]}", data))


def read_header(*files: Path) -> Header:
    """Return what some safetensors files hold together. Raises ModelNotLoadable with the file, what it is, the cure."""
    shapes: dict[str, Shape] = {}
    types: dict[str, str] = {}
    metadata: dict[str, str] = {}
    places: dict[str, Path] = {}
    begins: dict[str, int] = {}
    for file in files:
        tensors, first_byte = _tensors_of(file)
        noted = tensors.get("__metadata__", {})
        metadata.update({str(k): str(v) for k, v in noted.items()} if isinstance(noted, dict) else {})
        for name, tensor in tensors.items():
            if name == "__metadata__":
                continue
            shapes[name], types[name], places[name] = tuple(tensor["shape"]), tensor["dtype"], file
            begins[name] = first_byte + tensor["data_offsets"][0]
    return Header(shapes, types, metadata, places, begins)


def _tensors_of(file: Path) -> tuple[Mapping[str, Any], int]:
    try:
        state = file.stat()
    except OSError as error:
        raise ModelNotLoadable(f"{file} cannot be read ({error.strerror}): check the path and its rights") from error
    return _tensors(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=NUM_CACHED)
def _tensors(file: Path, size_bytes: int, _mtime_ns: int) -> tuple[dict[str, Any], int]:
    """Return what a header says of each tensor, and the place of the first tensor's first byte."""
    try:
        with file.open("rb") as opened:
            first = opened.read(64)
            if what := _something_else(first):
                raise ModelNotLoadable(f"{file} {what}")
            header_bytes = int.from_bytes(first[:8], "little")
            if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, size_bytes - 8):
                raise ModelNotLoadable(f"{file} is damaged (its header does not fit into it): fetch it again")
            opened.seek(8)
            header: dict[str, Any] = json.loads(opened.read(header_bytes))
        _check_tensors(header)
    except OSError as error:
        raise ModelNotLoadable(f"{file} cannot be read ({error.strerror}): check the path and its rights") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelNotLoadable(f"{file} is damaged (its header cannot be read: {error}): fetch it again") from error
    ends = (tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
    wanted_bytes = 8 + header_bytes + max(ends, default=0)
    if size_bytes != wanted_bytes:
        raise ModelNotLoadable(
            f"{file} is damaged (it has {size_bytes} bytes instead of {wanted_bytes}): fetch it again"
        )
    return header, 8 + header_bytes


def not_fetched(first: bytes) -> str | None:
    """Return what a file is that was never fetched whole, by its first bytes, and the cure; None for any other."""
    if not first:
        return "is damaged (it is empty): fetch it again"
    if first.startswith(_LFS):
        return "is a Git LFS pointer and not the file itself: fetch that with `git lfs pull`, or download it"
    if first.lstrip().lower().startswith(_PAGES):
        return "is a web page, as a server sends one instead of a file that needs a log-in: download the file itself"
    return None


def _something_else(first: bytes) -> str | None:
    """Return what a file is that is no safetensors, and the cure; None where it may be one."""
    if what := not_fetched(first):
        return what
    if first.startswith(_ZIP) or (first.startswith(_PICKLE) and first[1:2] in b"\x02\x03\x04\x05"):
        return f"is a pickle under another name, which could run code when it is read: {_CONVERT}"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in first):
        return "is a text and no safetensors file: fetch the file itself"
    return None


def _check_tensors(header: dict[str, Any]) -> None:
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        if not (isinstance(tensor["dtype"], str) and all(isinstance(n, int) and n >= 0 for n in tensor["shape"])):
            raise ValueError(f"{name} has no shape or type")
        if not (isinstance(begin, int) and isinstance(end, int) and 0 <= begin <= end):
            raise ValueError(f"{name} has no place")
