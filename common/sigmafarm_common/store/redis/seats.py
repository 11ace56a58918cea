"""Clients that wait at their request for a batch, at any process of the API."""

from __future__ import annotations

from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Part, in_ms
from sigmafarm_common.store.values import SEATS_MS


class Seats(Part):
    """One for each client, until it leaves or its time is over."""

    @guarded
    def take_seat(self, batch_id: str, seat_id: str, *, for_s: float) -> None:
        key = self._redis.key("batch", batch_id, "seats")
        until_ms = self._redis.now_ms() + in_ms(for_s)
        self._redis.client.pipeline().zadd(key, {seat_id: until_ms}).pexpire(key, max(in_ms(for_s), SEATS_MS)).execute()

    @guarded
    def leave_seat(self, batch_id: str, seat_id: str) -> None:
        self._redis.client.zrem(self._redis.key("batch", batch_id, "seats"), seat_id)

    @guarded
    def num_seats(self, batch_id: str) -> int:
        seats = self._redis.key("batch", batch_id, "seats")
        return self._redis.ask("zcount", seats, self._redis.now_ms() + 1, "+inf") or 0
