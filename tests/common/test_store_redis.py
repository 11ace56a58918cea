"""RedisStore keeps the contract on a real server."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Beat
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.scripts import Scripts
from tests.common.contracts import StoreContract
from tests.common.store_contract import (
    CONFIG,
    PATIENT,
    FakeMs,
    counts,
    dispatch,
    output,
    request,
    run_one,
    submit,
    worker,
)


@pytest.fixture
def clock() -> FakeMs:
    return FakeMs()


@pytest.fixture
def store(redis_client: redis.Redis, clock: FakeMs) -> RedisStore:
    return RedisStore(CONFIG, redis_client, now_ms=clock)


@pytest.fixture
def patient_store(redis_client: redis.Redis, clock: FakeMs) -> RedisStore:
    return RedisStore(PATIENT, redis_client, now_ms=clock)


class TestRedisStore(StoreContract):
    pass


def lose_replies(store: RedisStore, monkeypatch: pytest.MonkeyPatch, script: str) -> list[int]:
    """Let the connection break once after the server has run this script, before its answer arrives."""
    run, breaks = Scripts.run, [1]

    def broken(self: Scripts, name: str, *args: Any, pipeline: Any = None) -> Any:
        answer = run(self, name, *args, pipeline=pipeline)
        if name == script and breaks:
            breaks.pop()
            if pipeline is not None:
                pipeline.execute()
            raise redis.exceptions.ConnectionError("the reply is lost")
        return answer

    monkeypatch.setattr(Scripts, "run", broken)
    return breaks


@pytest.mark.parametrize("script", ["begin_batch", "add_rows", "seal_batch"])
def test_a_submit_whose_reply_is_lost_is_accepted_once(store: RedisStore, monkeypatch: pytest.MonkeyPatch, script: str):
    breaks = lose_replies(store, monkeypatch, script)

    batch = submit(store, 1200, key="k")

    assert not breaks
    assert [j.row for j in store.jobs(batch.id, limit=2000)] == list(range(1200))
    assert [b.id for b in store.batches()] == [batch.id]


@pytest.mark.parametrize("script", ["finish", "renew", "dispatch", "take_back", "cancel_job"])
def test_a_call_whose_reply_is_lost_is_counted_once(store: RedisStore, monkeypatch: pytest.MonkeyPatch, script: str):
    batch = submit(store, 2)
    claim = run_one(store, batch)
    breaks = lose_replies(store, monkeypatch, script)

    store.renew(worker(), [Beat(claim.job_id, claim.fence, 3, True)])
    assert store.finish(claim.job_id, claim.fence, output(claim))
    store.dispatch()
    store.take_back()
    assert store.cancel_job(f"{batch.id}-000001") is JobState.CANCELLED

    assert not breaks
    assert counts(store, batch) == {"succeeded": 1, "cancelled": 1}


def test_a_claim_whose_reply_is_lost_is_given_once_more_and_to_nobody_else(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    batch = submit(store)
    (job_id,) = dispatch(store)
    breaks = lose_replies(store, monkeypatch, "claim")

    claim = store.claim(job_id, "w1")

    assert not breaks
    assert claim is not None
    assert (claim.fence.number, claim.request.prompt) == (1, "prompt 0")
    assert store.claim(job_id, "w1") is None
    assert store.finish(job_id, claim.fence, output(claim))
    assert counts(store, batch) == {"succeeded": 1}


def test_a_batch_that_is_sealed_while_the_keeper_discards_it_stays(
    store: RedisStore, clock: FakeMs, monkeypatch: pytest.MonkeyPatch
):
    ticket = store.begin_batch(name="slow", owner="ann", priority=0, defaults={})
    store.add_rows(ticket.batch_id, [request()])
    clock.advance(61)
    read = store.client.zrangebyscore

    def seal_after_reading(*args: Any, **kwargs: Any) -> Any:
        stale = read(*args, **kwargs)
        store.seal_batch(ticket.batch_id)
        return stale

    monkeypatch.setattr(store.client, "zrangebyscore", seal_after_reading)
    store.take_back()

    assert store.batch(ticket.batch_id).counts.queued == 1


def test_empty_steps_that_somebody_made_in_the_queue_stop_nothing(store: RedisStore, redis_client: redis.Redis) -> None:
    batch = submit(store)
    redis_client.zadd("sigmafarm:queue:m", {"50": -50, "40": -40})
    redis_client.zadd("sigmafarm:queue:m:40", {"nobody": 0})

    assert dispatch(store) == [f"{batch.id}-000000"]
    assert redis_client.zrange("sigmafarm:queue:m", 0, -1) == []
