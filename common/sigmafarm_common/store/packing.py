"""How the rows of a batch share their texts: a long prompt that a thousand rows repeat stands in Redis once.

A row's record is its own part of the request as JSON, behind the names of the texts that it shares:
`9f0c2d... 51ab77... {"seed":7}`. Each text is a JSON object too (`{"prompt":"..."}`, or all settings in one), and the
request is what they are put together. A row that shares nothing is a plain JSON object. claim.lua puts together as
`unpacked` does.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sigmafarm_common.settings import LONG_TEXTS, NO_SETTINGS, PICTURE_FIELDS, RenderRequest

#: Settings that differ from row to row, or are long: each is a part of its own, the others are one together.
_OWN = (*LONG_TEXTS, "seed", *NO_SETTINGS, *PICTURE_FIELDS)
_NOT_TOGETHER = set(_OWN)
#: How the parts begin that change no picture: labels, own columns, the line of the file.
_NO_SETTINGS = tuple(f'{{"{name}":' for name in NO_SETTINGS)
#: What json.dumps makes anew for each text.
_encode = json.JSONEncoder(ensure_ascii=False).encode
#: Of what equal requests have alike: two different ones have it alike once in 2**64 pairs of 2**32.
SAME_BYTES = 12
#: Texts below this are cheaper in each row than their name there and themselves elsewhere.
LEAST_SHARED_CHARS = 48


@dataclass(frozen=True)
class Row:
    """What the store keeps of one request."""

    record: str
    #: What equal requests have alike: all of them but what changes no picture.
    same: str
    #: Names of the texts that it shares.
    names: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return len(self.record.encode())


@dataclass(frozen=True)
class Packed:
    """Rows in order, and the texts that they share by name."""

    rows: tuple[Row, ...]
    texts: Mapping[str, str]

    def pieces(self, max_rows: int, max_bytes: int) -> Iterator[Packed]:
        """Yield them in pieces of at most so many rows and bytes, its texts with each; a larger row comes alone."""
        rows, texts, size_bytes = list[Row](), dict[str, str](), 0
        for row in self.rows:
            new = {name: self.texts[name] for name in row.names if name not in texts}
            more_bytes = row.size_bytes + sum(len(text.encode()) for text in new.values())
            if rows and (len(rows) == max_rows or size_bytes + more_bytes > max_bytes):
                yield Packed(tuple(rows), texts)
                rows, texts, size_bytes = [], {}, 0
                new = {name: self.texts[name] for name in row.names}
                more_bytes = row.size_bytes + sum(len(text.encode()) for text in new.values())
            rows.append(row)
            texts.update(new)
            size_bytes += more_bytes
        if rows:
            yield Packed(tuple(rows), texts)


def packed(requests: Sequence[RenderRequest]) -> Packed:
    """Return the records of requests, with what several of them say alike taken out."""
    parts = [_parts(request) for request in requests]
    times = Counter(text for texts in parts for text in texts)
    shared = {text: _name(text) for text, num in times.items() if num > 1 and len(text) >= LEAST_SHARED_CHARS}
    rows = [_row(texts, shared, _same(texts)) for texts in parts]
    return Packed(tuple(rows), {name: text for text, name in shared.items()})


def names_in(record: str) -> list[str]:
    """Return the names of the texts that a record shares."""
    return record.partition("{")[0].split()


def unpacked(record: str, texts: Mapping[str, str]) -> str | None:
    """Return a request as JSON, None where a text of it is missing."""
    names = names_in(record)
    if not names:
        return record
    own = record[record.find("{") :]
    if any(name not in texts for name in names):
        return None
    inner = [text[1:-1] for text in (own, *(texts[name] for name in names))]
    return "{" + ",".join(part for part in inner if part) + "}"


def _parts(request: RenderRequest) -> list[str]:
    """Return the JSON objects that make a request up."""
    settings = request.model_dump_json(exclude_none=True, exclude=_NOT_TOGETHER)
    said = [(name, getattr(request, name)) for name in _OWN]
    return [settings, *(_object(name, value) for name, value in said if value is not None)]


def _object(name: str, value: object) -> str:
    return f'{{"{name}":{_encode(value)}}}'


def same_of(request: RenderRequest) -> str:
    """Return what equal requests have alike, in a few letters: the canonical fingerprint of all settings."""
    return _same(_parts(request))


def _same(parts: Iterable[str]) -> str:
    text = "\n".join(part for part in parts if not part.startswith(_NO_SETTINGS))
    return hashlib.blake2b(text.encode(), digest_size=SAME_BYTES).hexdigest()


def _row(texts: Iterable[str], shared: Mapping[str, str], same: str) -> Row:
    names = tuple(shared[text] for text in texts if text in shared)
    own = ",".join(text[1:-1] for text in texts if text not in shared and text != "{}")
    record = "{" + own + "}"
    return Row(" ".join((*names, record)), same, names)


def _name(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
