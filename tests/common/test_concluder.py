"""Batches that are over: swept, their manifest written, and swept again when a late picture could still come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from PIL import Image

from sigmafarm_common.concluder import (
    BATCHES_PER_PAGE,
    LATE_SWEEPS_S,
    LONGEST_WAIT_S,
    SHORTEST_WAIT_S,
    SWEEP_AGAIN_LEASES,
    Concluder,
)
from sigmafarm_common.errors import StorageUnavailable
from sigmafarm_common.manifest import manifest_key
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.records import Batch
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim
from sigmafarm_common.sweep import sweep_batch
from sigmafarm_common.uploads.reading import stored_form
from sigmafarm_common.uploads.storing import store_picture
from tests.common.store_contract import CONFIG, claim_all, dispatch, output, submit
from tests.common.test_keeper import Farm


class Bench(Farm):
    """A farm with objects and a concluder beside its keeper."""

    def __init__(self, client: redis.Redis, folder: Path) -> None:
        super().__init__(client)
        self.objects = FolderStore(folder)
        self.concluder = Concluder(CONFIG, self.store, self.objects, self.keeper)

    def object_keys(self) -> set[str]:
        return {o.key for o in self.objects.list()}

    def ended_ms(self, batch: Batch) -> int:
        return self.store.batch(batch.id).finished_ms

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


def test_picture_that_comes_after_the_end_is_removed_whoever_leads_by_then(bench: Bench) -> None:
    batch = bench.cancelled_batch()
    bench.concluder.run_once()
    bench.concluder = Concluder(CONFIG, bench.store, bench.objects, bench.keeper)  # the first leader is dead
    late = f"{batch.id}/000000-f1.png"
    for after_s in (SWEEP_AGAIN_LEASES * CONFIG.lease_s, *LATE_SWEEPS_S):
        bench.objects.put(late, b"late", "image/png")  # its worker dies before it can remove it
        bench.concluder.run_once()
        assert late in bench.object_keys()

        bench.ms.now_ms = bench.ended_ms(batch) + round(1000 * after_s)
        bench.concluder.run_once()

        assert bench.object_keys() == {manifest_key(batch.id)}
    assert bench.store.num_sweeps_planned(1e9) == 0


def test_batch_without_mishaps_is_swept_once_more_and_never_again(bench: Bench) -> None:
    batch = submit(bench.store)
    (claim,) = claim_all(bench.store, dispatch(bench.store))
    bench.store.finish(claim.job_id, claim.fence, output(claim))
    bench.concluder.run_once()
    forgotten = f"{batch.id}/000000-f1-0000000a.png"  # of a claim that the records lost when they went back in time
    bench.objects.put(forgotten, b"late", "image/png")

    bench.ms.advance(SWEEP_AGAIN_LEASES * CONFIG.lease_s)
    bench.concluder.run_once()

    assert bench.object_keys() == {manifest_key(batch.id)}
    assert bench.store.num_sweeps_planned(1e9) == 0


def test_planned_sweep_of_a_batch_that_is_forgotten_goes_with_it(bench: Bench) -> None:
    bench.store.plan_sweep("0" * 15, 0)

    bench.concluder.run_once()

    assert bench.store.num_sweeps_planned(1e9) == 0


def test_pictures_that_nobody_uses_any_more_are_removed_by_whoever_leads(bench: Bench) -> None:
    upload = store_picture(bench.store, bench.objects, "ann", stored_form(Image.new("RGB", (8, 8)))).upload
    bench.advance(CONFIG.upload_keep_s - 1)
    bench.concluder.run_once()
    assert bench.object_keys() == {upload.key}

    bench.advance(1)
    bench.concluder.run_once()

    assert bench.object_keys() == set()


def test_batch_without_a_record_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.store.client.zadd("sigmafarm:finished", {"0" * 15: 1})
    batch = bench.cancelled_batch()

    bench.concluder.run_once()

    assert bench.store.finished_batches() == []
    assert manifest_key(batch.id) in bench.object_keys()


def test_all_batches_that_are_over_are_concluded_in_one_round(bench: Bench) -> None:
    batches = [submit(bench.store) for _ in range(2 * BATCHES_PER_PAGE + 1)]
    for batch in batches:
        bench.store.cancel_batch(batch.id)

    assert sorted(bench.concluder.run_once()) == sorted(b.id for b in batches)
    assert bench.object_keys() == {manifest_key(b.id) for b in batches}


def test_batches_that_cannot_be_concluded_stop_no_other_and_are_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {bench.cancelled_batch().id for _ in range(BATCHES_PER_PAGE + 3)}
    good = bench.cancelled_batch()
    put, tries = bench.objects.put, list[str]()

    def refuse(key: str, *args: Any) -> None:
        if key.partition("/")[0] in bad:
            tries.append(key)
            raise StorageUnavailable("403")
        put(key, *args)

    monkeypatch.setattr(bench.objects, "put", refuse)

    assert bench.concluder.run_once() == [good.id]
    assert (len(tries), bench.concluder.run_once()) == (len(bad), [])
    bench.clock.now_s += SHORTEST_WAIT_S
    bench.concluder.run_once()
    assert len(tries) == 2 * len(bad)
    monkeypatch.undo()
    bench.clock.now_s += LONGEST_WAIT_S

    assert set(bench.concluder.run_once()) == bad


def test_batch_whose_end_was_spoiled_is_concluded_once(bench: Bench) -> None:
    batch = bench.cancelled_batch()
    bench.store.client.hset(f"sigmafarm:batch:{batch.id}", "finished", "garbage")

    assert bench.concluder.run_once() == [batch.id]
    assert bench.store.finished_batches() == []


def test_picture_whose_record_lost_its_key_is_no_stray(bench: Bench) -> None:
    batch = submit(bench.store, 2)
    (one, two) = claim_all(bench.store, dispatch(bench.store))
    for claim in (one, two):
        bench.objects.put(picture(claim), b"picture", "image/png")
        bench.store.finish(claim.job_id, claim.fence, replace(output(claim), image_key=picture(claim)))
    bench.store.client.hdel(f"sigmafarm:job:{one.job_id}", "image_key")

    sweep_batch(bench.store, bench.objects, batch.id)

    assert bench.object_keys() == {picture(one), picture(two)}


def picture(claim: Claim) -> str:
    return f"{claim.batch_id}/{claim.job_id[-6:]}-f{claim.fence}.png"
