"""Keys of the API, and what each may spend: requests a second."""

from __future__ import annotations

from sigmafarm_common.keys import KeyRecord
from sigmafarm_common.store import refusals
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import Part
from sigmafarm_common.store.redis.stored_records import parsed


class Keyring(Part):
    """The records of keys, never the keys themselves."""

    @guarded
    def add_key(self, key: KeyRecord) -> None:
        is_new = self._redis.tell("hsetnx", self._redis.key("api_keys"), key.id, key.model_dump_json())
        if not is_new and self.key(key.id) != key:  # else it is our own, said twice after a lost reply
            raise refusals.key_taken(key.id)

    @guarded
    def keys(self) -> list[KeyRecord]:
        records = parsed(KeyRecord, self._redis.ask("hvals", self._redis.key("api_keys")) or ())
        return sorted(records, key=lambda k: (k.created_ms, k.id))

    @guarded
    def key(self, key_id: str) -> KeyRecord | None:
        return next(iter(parsed(KeyRecord, [self._redis.ask("hget", self._redis.key("api_keys"), key_id)])), None)

    @guarded
    def revoke_key(self, key_id: str) -> None:
        if not self._redis.tell("hdel", self._redis.key("api_keys"), key_id):
            raise refusals.no_key(key_id)

    @guarded
    def spend(self, name: str, *, per_s: float, burst: float, amount: float = 1.0) -> float:
        return self._redis.run("spend", name, 1000 / per_s, max(burst, amount), amount) / 1000
