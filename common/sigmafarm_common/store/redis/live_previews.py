"""Previews of what is drawn just now, for as long as somebody looks."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from sigmafarm_common.store.ids import split_job_id
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Part, in_ms
from sigmafarm_common.store.redis.stored_records import preview_from
from sigmafarm_common.store.values import PREVIEW_MS, Preview


class LivePreviews(Part):
    """Those who look say so; workers show while anybody does."""

    @guarded
    def want_previews(self, for_s: float = 10.0) -> None:
        self._redis.client.set(self._redis.key("watched"), 1, px=in_ms(for_s))

    @guarded
    def are_previews_wanted(self) -> bool:
        return bool(self._redis.client.exists(self._redis.key("watched")))

    @guarded
    def show(self, previews: Iterable[Preview]) -> None:
        said = [v for p in previews for v in (p.job_id, str(p.fence), p.step, base64.b64encode(p.webp).decode())]
        if said:
            self._redis.run("show", PREVIEW_MS, *said)

    @guarded
    def preview(self, job_id: str) -> Preview | None:
        said = self._redis.ask("get", self._redis.key("job", job_id, "preview")) if split_job_id(job_id) else None
        return preview_from(job_id, said) if said else None
