"""Records of uploaded pictures: kept while a batch uses them, and for a time beside that."""

from __future__ import annotations

from collections.abc import Sequence

from sigmafarm_common.records import Upload
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import is_batch_id
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Keyspace, in_ms
from sigmafarm_common.store.redis.scripts import QUOTA
from sigmafarm_common.store.redis.stored_records import upload_from
from sigmafarm_common.store.values import UPLOADS_PER_CALL


class Uploading:
    """Note, look up, let go."""

    def __init__(self, redis: Keyspace):
        self._redis = redis

    @guarded
    def note_upload(self, upload: Upload, *, max_bytes: int = 0) -> Upload:
        said = (upload.key, upload.size_bytes, upload.width, upload.height, int(upload.is_linked), max_bytes)
        answer, *about = self._redis.run("note_upload", upload.sha256, upload.owner, *said)
        if answer == QUOTA:
            raise refusals.too_many_upload_bytes(upload.owner, int(about[0]), max_bytes)
        return self._read(upload.owner, upload.sha256) or upload

    @guarded
    def touch_upload(self, owner: str, sha256: str) -> Upload | None:
        (key,) = self._redis.run("note_upload", sha256, owner, "", 0, 0, 0, 0, 0)
        return self._read(owner, sha256) if key else None

    @guarded
    def upload(self, owner: str, sha256: str) -> Upload:
        found = self._read(owner, sha256)
        if found is None:
            raise refusals.no_upload(sha256)
        return found

    @guarded
    def upload_of(self, batch_id: str, sha256: str) -> Upload:
        owner = self._redis.ask("hget", self._redis.key("batch", batch_id), "owner") if is_batch_id(batch_id) else None
        found = self._read(owner or "", sha256)
        if found is None:
            raise refusals.no_upload(sha256)
        return found

    def _read(self, owner: str, sha256: str) -> Upload | None:
        pipeline = self._redis.client.pipeline(transaction=False)
        pipeline.hgetall(self._redis.key("upload", sha256, owner))
        pipeline.smembers(self._redis.key("upload_batches", sha256, owner))
        fields, batches = self._redis.answers(pipeline)
        return upload_from(sha256, owner, fields or {}, batches or ())

    @guarded
    def drop_uploads(self) -> int:
        keep_ms = in_ms(self._redis.config.upload_keep_s)
        return int(self._redis.run("drop_uploads", keep_ms, UPLOADS_PER_CALL)) if keep_ms else 0

    @guarded
    def deletions(self) -> list[str]:
        return sorted(self._redis.ask("srandmember", self._redis.key("deletions"), UPLOADS_PER_CALL) or ())

    @guarded
    def note_deleted(self, keys: Sequence[str]) -> None:
        if keys:
            self._redis.tell("srem", self._redis.key("deletions"), *keys)
