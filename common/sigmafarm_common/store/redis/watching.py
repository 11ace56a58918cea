"""What dashboards and the API ask of the Redis store: pace, totals, failures, previews, seats; keys and allowances."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from sigmafarm_common.keys import KeyRecord
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import is_batch_id, split_job_id
from sigmafarm_common.store.protocol import PACE_ENTRIES, PACE_S, PREVIEW_MS, SEATS_MS, Event, Pace, Preview
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import RedisPart, in_ms
from sigmafarm_common.store.redis.stored_records import event_from, numbers_in, pace_from, parsed, preview_from, whole


class RedisWatching(RedisPart):
    """Each question is answered by a constant number of commands."""

    @guarded
    def last_events(self, *, limit: int = 100) -> list[Event]:
        entries = self._ask("xrevrange", self._key("events"), count=limit) or ()
        return [event_from(event_id, fields) for event_id, fields in entries]

    @guarded
    def failures(self, batch_id: str) -> dict[str, int]:
        said = self._ask("hgetall", self._key("batch", batch_id, "failures")) if is_batch_id(batch_id) else {}
        return numbers_in(said or {})

    @guarded
    def held_jobs(self, worker_id: str) -> list[str]:
        return sorted(self._ask("smembers", self._key("worker", worker_id, "jobs")) or ())

    @guarded
    def pace(self) -> list[Pace]:
        newest = self._now_ms() // (PACE_S * 1000)
        return pace_from(self._ask("hgetall", self._key("pace")) or {}, since=newest - PACE_ENTRIES)

    @guarded
    def totals(self) -> dict[str, int]:
        return numbers_in(self._ask("hgetall", self._key("totals")) or {})

    @guarded
    def open_jobs(self, owner: str) -> int:
        return whole(self._ask("hget", self._key("open_jobs"), owner))

    # -- previews

    @guarded
    def want_previews(self, for_s: float = 10.0) -> None:
        self.client.set(self._key("watched"), 1, px=in_ms(for_s))

    @guarded
    def are_previews_wanted(self) -> bool:
        return bool(self.client.exists(self._key("watched")))

    @guarded
    def show(self, previews: Iterable[Preview]) -> None:
        said = [v for p in previews for v in (p.job_id, str(p.fence), p.step, base64.b64encode(p.webp).decode())]
        if said:
            self._scripts.run("show", PREVIEW_MS, *said)

    @guarded
    def preview(self, job_id: str) -> Preview | None:
        said = self._ask("get", self._key("job", job_id, "preview")) if split_job_id(job_id) else None
        return preview_from(job_id, said) if said else None

    # -- clients that wait

    @guarded
    def take_seat(self, batch_id: str, seat_id: str, *, for_s: float) -> None:
        key = self._key("batch", batch_id, "seats")
        until_ms = self._now_ms() + in_ms(for_s)
        self.client.pipeline().zadd(key, {seat_id: until_ms}).pexpire(key, max(in_ms(for_s), SEATS_MS)).execute()

    @guarded
    def leave_seat(self, batch_id: str, seat_id: str) -> None:
        self.client.zrem(self._key("batch", batch_id, "seats"), seat_id)

    @guarded
    def num_seats(self, batch_id: str) -> int:
        return int(self._ask("zcount", self._key("batch", batch_id, "seats"), self._now_ms() + 1, "+inf") or 0)

    # -- drain

    @guarded
    def drain_worker(self, worker_id: str, *, is_draining: bool = True) -> None:
        if not self._scripts.run("drain_worker", worker_id, int(is_draining)):
            raise refusals.no_worker(worker_id)

    @guarded
    def is_drained(self, worker_id: str) -> bool:
        return bool(self._ask("sismember", self._key("draining"), worker_id))

    # -- keys and allowances

    @guarded
    def add_key(self, key: KeyRecord) -> None:
        is_new = self._tell("hsetnx", self._key("api_keys"), key.id, key.model_dump_json())
        if not is_new and self.key(key.id) != key:  # else it is our own, said twice after a lost reply
            raise refusals.key_taken(key.id)

    @guarded
    def keys(self) -> list[KeyRecord]:
        records = parsed(KeyRecord, self._ask("hvals", self._key("api_keys")) or ())
        return sorted(records, key=lambda k: (k.created_ms, k.id))

    @guarded
    def key(self, key_id: str) -> KeyRecord | None:
        return next(iter(parsed(KeyRecord, [self._ask("hget", self._key("api_keys"), key_id)])), None)

    @guarded
    def revoke_key(self, key_id: str) -> None:
        if not self._tell("hdel", self._key("api_keys"), key_id):
            raise refusals.no_key(key_id)

    @guarded
    def spend(self, name: str, *, per_s: float, burst: float, amount: float = 1.0) -> float:
        return self._scripts.run("spend", name, 1000 / per_s, max(burst, amount), amount) / 1000
