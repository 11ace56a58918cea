"""Batches that are over: swept, their manifest written, and swept again when a late picture could still come."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from sigmafarm_common.concluder import SWEEP_AGAIN_LEASES, Concluder
from sigmafarm_common.job import Batch
from sigmafarm_common.manifest import manifest_key
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.store.redis_store import RedisStore
from tests.common.store_contract import CONFIG, claim_all, dispatch, submit
from tests.common.test_keeper import Farm


class Bench(Farm):
    """A farm with objects and a concluder beside its keeper."""

    def __init__(self, client: redis.Redis, folder: Path) -> None:
        super().__init__(client)
        self.objects = FolderStore(folder)
        self.concluder = Concluder(CONFIG, self.store, self.objects, self.keeper)

    def object_keys(self) -> set[str]:
        return {o.key for o in self.objects.list()}

    def cancelled_batch(self) -> Batch:
        """A batch whose one job was cancelled while it was drawn."""
        batch = submit(self.store)
        claim_all(self.store, dispatch(self.store))
        self.store.cancel_batch(batch.id)
        return batch


@pytest.fixture
def bench(redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(RedisStore, "server_uptime_s", lambda _self: 1e6)
    bench = Bench(redis_client, tmp_path)
    bench.keeper.run_once()
    return bench


def test_batch_is_concluded_once_for_each_of_its_ends(bench: Bench) -> None:
    batch = bench.cancelled_batch()

    assert bench.concluder.run_once() == [batch.id]
    assert bench.concluder.run_once() == []
    assert bench.object_keys() == {manifest_key(batch.id)}


def test_nothing_is_concluded_while_another_keeper_leads(bench: Bench) -> None:
    bench.keeper.is_leader = False
    bench.cancelled_batch()

    assert bench.concluder.run_once() == []


def test_picture_that_comes_after_the_end_is_removed_by_the_second_sweep(bench: Bench) -> None:
    batch = bench.cancelled_batch()
    bench.concluder.run_once()
    late = f"{batch.id}/000000-f1.png"
    bench.objects.put(late, b"late", "image/png")  # its worker dies before it can remove it

    bench.concluder.run_once()
    assert late in bench.object_keys()
    bench.clock.now_s += SWEEP_AGAIN_LEASES * CONFIG.lease_s
    bench.concluder.run_once()

    assert bench.object_keys() == {manifest_key(batch.id)}


def test_batch_without_a_record_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.store.client.zadd("sigmafarm:finished", {"0" * 15: 1})
    batch = bench.cancelled_batch()

    bench.concluder.run_once()

    assert bench.store.finished_batches() == []
    assert manifest_key(batch.id) in bench.object_keys()
