"""The model's uploads: what note_upload.lua and drop_uploads.lua do, and what add_rows.lua does about them."""

from __future__ import annotations

from collections.abc import Sequence

from sigmafarm_common.config import Config
from sigmafarm_common.records import Upload
from sigmafarm_common.settings import RenderRequest, uploads_of
from sigmafarm_common.store import refusals
from sigmafarm_common.store.values import MAX_SHOWN_BATCHES, UPLOADS_PER_CALL
from tests.store_model.keeping import in_ms
from tests.store_model.model_records import BatchRecord
from tests.store_model.moves import Moves


class Uploads:
    """Pictures that jobs draw from."""

    _config: Config
    _moves: Moves

    def note_upload(self, upload: Upload, *, max_bytes: int = 0) -> Upload:
        known = self.touch_upload(upload.owner, upload.sha256)
        if known is not None:
            return known
        own = [u for (owner, _), u in self._moves.uploads.items() if owner == upload.owner and not u.is_linked]
        held = sum(u.size_bytes for u in own)
        if max_bytes and not upload.is_linked and held + upload.size_bytes > max_bytes:
            raise refusals.too_many_upload_bytes(upload.owner, held, max_bytes)
        made = upload.model_copy(update={"created_ms": self._moves.now_ms()})
        self._moves.uploads[upload.owner, upload.sha256] = made
        self._moves.unused[upload.owner, upload.sha256] = self._moves.now_ms()
        return self.upload(upload.owner, upload.sha256)

    def touch_upload(self, owner: str, sha256: str) -> Upload | None:
        if (owner, sha256) not in self._moves.uploads:
            return None
        if not self._moves.users_of(owner, sha256):
            self._moves.unused[owner, sha256] = self._moves.now_ms()
        return self.upload(owner, sha256)

    def upload(self, owner: str, sha256: str) -> Upload:
        found = self._moves.uploads.get((owner, sha256))
        if found is None:
            raise refusals.no_upload(sha256)
        users = sorted(self._moves.users_of(owner, sha256), reverse=True)
        return found.model_copy(update={"num_batches": len(users), "batches": tuple(users[:MAX_SHOWN_BATCHES])})

    def upload_of(self, batch_id: str, sha256: str) -> Upload:
        batch = self._moves.batches.get(batch_id)
        return self.upload(batch.owner if batch else "", sha256)

    def drop_uploads(self) -> int:
        keep_ms = in_ms(self._config.upload_keep_s)
        until_ms = self._moves.now_ms() - keep_ms
        due = sorted((at, name) for name, at in self._moves.unused.items() if keep_ms and at <= until_ms)
        for _, name in due[:UPLOADS_PER_CALL]:
            del self._moves.unused[name]
            upload = self._moves.uploads.pop(name)
            if not upload.is_linked:
                self._moves.deletions.add(upload.key)
        return len(due[:UPLOADS_PER_CALL])

    def deletions(self) -> list[str]:
        return sorted(self._moves.deletions)[:UPLOADS_PER_CALL]

    def note_deleted(self, keys: Sequence[str]) -> None:
        self._moves.deletions.difference_update(keys)

    def _use_uploads(self, batch: BatchRecord, requests: Sequence[RenderRequest]) -> None:
        named = {sha256: field for request in requests for sha256, field in uploads_of(request).items()}
        for sha256, field in named.items():
            if (batch.owner, sha256) not in self._moves.uploads:
                raise refusals.upload_gone(field, sha256)
        batch.uploads |= set(named)
        for sha256 in named:
            self._moves.unused.pop((batch.owner, sha256), None)
