"""A farm that draws for ever does not grow: Redis holds after many finished batches what it held after few."""

from __future__ import annotations

import pytest
import redis

from sigmafarm_common.config import Config
from sigmafarm_common.store.redis_store import RedisStore
from tests.common.store_contract import FakeMs, claim_all, output, request, submit, worker
from tests.common.test_store_cost import fill_the_event_stream, used_bytes

#: Batches that one call of live brings to their end, and jobs of each.
NUM_BATCHES, NUM_JOBS = 60, 10
#: A batch ends every minute; the newest hundred minutes are remembered.
SPAN_S, RETENTION_S = 60, 6000
#: Owners and priorities change, so that queues have much to remember.
NUM_OWNERS = 50
#: How much more memory may be used after five times as many batches.
MARGIN = 0.03


def live(store: RedisStore, clock: FakeMs, first: int) -> None:
    """Bring batches through their lives: some jobs succeed, one fails, one is cancelled; the keeper forgets."""
    for n in range(first, first + NUM_BATCHES):
        name = f"o{n % NUM_OWNERS}"
        batch = submit(store, owner=name, priority=n % 5, key=f"key {n}", requests=[request("a cat " * 9)] * NUM_JOBS)
        store.renew(worker(slots=NUM_JOBS), [])
        spoiled, left, *rest = claim_all(store, [d.job_id for d in store.dispatch()])
        store.fail(spoiled.job_id, spoiled.fence, code="bad", message="no", retryable=False)
        store.cancel_job(left.job_id)
        for claim in rest:
            store.finish(claim.job_id, claim.fence, output(claim))
        store.note_manifest(batch.id, store.batch(batch.id).finished_ms)
        clock.advance(SPAN_S)
        store.take_back()
        store.forget_batches()


@pytest.mark.slow
def test_five_times_as_many_batches_need_no_more_keys_and_no_more_memory(redis_client: redis.Redis) -> None:
    clock = FakeMs()
    store = RedisStore(Config(retention_s=RETENTION_S), redis_client, now_ms=clock)
    fill_the_event_stream(redis_client)
    for n in range(2):
        live(store, clock, n * NUM_BATCHES)
    num_keys, num_bytes = redis_client.dbsize(), used_bytes(redis_client)

    for n in range(2, 10):
        live(store, clock, n * NUM_BATCHES)

    assert redis_client.dbsize() == num_keys
    assert used_bytes(redis_client) <= num_bytes * (1 + MARGIN)
    assert len(store.batches(limit=1000)) == RETENTION_S // SPAN_S - 1


def test_nothing_is_left_of_a_farm_in_which_nobody_submits_any_more(redis_client: redis.Redis) -> None:
    clock = FakeMs()
    store = RedisStore(Config(retention_s=RETENTION_S), redis_client, now_ms=clock)
    live(store, clock, 0)
    clock.advance(2 * 86_400)

    while store.forget_batches():
        pass
    store.take_back()

    assert sorted(redis_client.keys("*")) == [
        "sigmafarm:events",
        "sigmafarm:measured",
        "sigmafarm:pace",
        "sigmafarm:totals",
    ]
