"""Reads the records of uploaded pictures for the checker and the sweep. Not in one stroke: what looks wrong may have
moved meanwhile, and is read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sigmafarm_common.check.reader import PAGE_KEYS
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Keyspace, chunks

#: An upload: its SHA-256 and its owner.
Name = tuple[str, str]


@dataclass(frozen=True)
class UploadSeen:
    """An upload and every place where it stands."""

    name: Name
    #: Its hash; empty where there is none, and somebody names it all the same.
    fields: Mapping[str, str]
    #: Batches that are noted to use it, and those that say so themselves.
    batches: frozenset[str]
    named_by: frozenset[str]
    #: Whether it waits to be removed.
    is_unused: bool

    @property
    def key(self) -> str:
        return self.fields.get("key", "")

    @property
    def is_linked(self) -> bool:
        return self.fields.get("linked") == "1"


@dataclass(frozen=True)
class UploadsSeen:
    """All uploads, the bytes of each owner, and the objects that are to be removed."""

    uploads: tuple[UploadSeen, ...]
    sums: Mapping[str, str]
    deletions: frozenset[str]

    @property
    def keys(self) -> frozenset[str]:
        """Keys of objects that are somebody's, or are removed soon."""
        return self.deletions | {upload.key for upload in self.uploads}


class UploadReader:
    """Reads only. Raises what a store raises."""

    def __init__(self, redis: Keyspace):
        self._redis = redis

    @guarded
    def read(self, batch_ids: Iterable[str]) -> UploadsSeen:
        """Read every upload, as far as its own keys or one of these batches name it."""
        names = set(self._names("upload")) | set(self._names("upload_batches"))
        uses = self._uses(batch_ids)
        unused = {_name(text) for text in self._redis.ask("zrange", self._redis.key("unused_uploads"), 0, -1) or ()}
        uploads: list[UploadSeen] = []
        for page in chunks(sorted(names | set(uses) | unused), PAGE_KEYS):
            uploads += self._page(page, uses, unused)
        sums = self._redis.ask("hgetall", self._redis.key("upload_bytes")) or {}
        return UploadsSeen(
            tuple(uploads), sums, frozenset(self._redis.ask("smembers", self._redis.key("deletions")) or ())
        )

    def _names(self, kind: str) -> Iterable[Name]:
        found = self._redis.client.scan_iter(match=f"{self._redis.key(kind)}:*", count=PAGE_KEYS)
        return (_name(str(key).removeprefix(f"{self._redis.key(kind)}:")) for key in found)

    def _uses(self, batch_ids: Iterable[str]) -> dict[Name, set[str]]:
        uses: dict[Name, set[str]] = {}
        for page in chunks(sorted(batch_ids), PAGE_KEYS):
            pipe = self._redis.client.pipeline(transaction=False)
            for batch_id in page:
                pipe.hget(self._redis.key("batch", batch_id), "owner")
                pipe.smembers(self._redis.key("batch", batch_id, "uploads"))
            answers = self._redis.answers(pipe)
            for batch_id, owner, used in zip(page, answers[0::2], answers[1::2], strict=True):
                for sha256 in used or ():
                    uses.setdefault((sha256, owner or ""), set()).add(batch_id)
        return uses

    def _page(self, names: Iterable[Name], uses: Mapping[Name, set[str]], unused: set[Name]) -> list[UploadSeen]:
        pipe, names = self._redis.client.pipeline(transaction=False), list(names)
        for name in names:
            pipe.hgetall(self._redis.key("upload", *name)).smembers(self._redis.key("upload_batches", *name))
        answers = self._redis.answers(pipe)
        return [
            UploadSeen(name, fields or {}, frozenset(batches or ()), frozenset(uses.get(name, ())), name in unused)
            for name, fields, batches in zip(names, answers[0::2], answers[1::2], strict=True)
        ]


def _name(text: str) -> Name:
    sha256, _, owner = text.partition(":")
    return sha256, owner
