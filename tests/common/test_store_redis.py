"""RedisStore keeps the contract on a real server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from sigmafarm_common.errors import Conflict
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis import working
from sigmafarm_common.store.redis.keyspace import JOBS_PER_CALL
from sigmafarm_common.store.redis.scripts import Scripts
from sigmafarm_common.store.redis.submitting import BYTES_PER_CALL
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Beat
from tests.common.contracts import StoreContract
from tests.common.store_contract import (
    CONFIG,
    PATIENT,
    WEIGHTS,
    FakeMs,
    claim_all,
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

    def broken(self: Scripts, name: str, *args: Any) -> Any:
        answer = run(self, name, *args)
        if name == script and breaks:
            breaks.pop()
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


def test_a_batch_that_is_sealed_while_the_keeper_discards_it_stays(store: RedisStore, clock: FakeMs):
    ticket = store.begin_batch(name="slow", owner="ann", priority=0, defaults={})
    store.add_rows(ticket.batch_id, [request()])
    clock.advance(61)
    assert store.stale_batches() == [ticket.batch_id]
    store.seal_batch(ticket.batch_id)

    with pytest.raises(Conflict, match="accepted already"):
        store.discard_batch(ticket.batch_id)

    assert store.batch(ticket.batch_id).counts.queued == 1


@pytest.mark.parametrize("said", [{}, {"is_draining": True}], ids=["takes jobs", "takes none"])
def test_a_worker_of_an_older_version_has_the_room_that_its_record_tells(
    store: RedisStore, redis_client: redis.Redis, said: dict[str, bool]
) -> None:
    submit(store, 9)
    store.renew(worker(slots=2).model_copy(update=said), [])
    redis_client.delete("sigmafarm:rooms")  # it does not write that

    assert len(store.dispatch()) == (0 if said else 2)


@pytest.mark.parametrize("models", ["7", "[{}, null]", '{"a": 1}', "null"])
def test_a_worker_whose_record_names_no_models_has_no_room_and_stops_nothing(
    store: RedisStore, redis_client: redis.Redis, models: str
) -> None:
    submit(store, 3)
    store.renew(worker("w1", slots=1), [])
    store.renew(worker("w2", slots=1), [])
    redis_client.delete("sigmafarm:rooms")
    redis_client.set("sigmafarm:worker:w2", f'{{"slots": 5, "lookahead": 0, "models": {models}}}')

    assert len(store.dispatch()) == 1


def test_empty_steps_that_somebody_made_in_the_queue_stop_nothing(store: RedisStore, redis_client: redis.Redis) -> None:
    batch = submit(store)
    redis_client.zadd("sigmafarm:queue:m", {"50": -50, "40": -40})
    redis_client.zadd("sigmafarm:queue:m:40", {"nobody": 0})

    assert dispatch(store) == [f"{batch.id}-000000"]
    assert redis_client.zrange("sigmafarm:queue:m", 0, -1) == []


def said_to(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], Any]]:
    """Note every script with its arguments and its answer."""
    run, said = Scripts.run, list[tuple[str, tuple[Any, ...], Any]]()

    def noted(self: Scripts, name: str, *args: Any) -> Any:
        answer = run(self, name, *args)
        said.append((name, args, answer))
        return answer

    monkeypatch.setattr(Scripts, "run", noted)
    return said


def test_no_script_touches_more_than_so_many_jobs(
    store: RedisStore, clock: FakeMs, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    said, num = said_to(store, monkeypatch), 2 * JOBS_PER_CALL + 50
    batch = submit(store, num)
    store.renew(worker(slots=num), [])
    assert len(store.dispatch()) == num
    clock.advance(6)
    assert len(store.take_back().unclaimed) == num
    claim_all(store, dispatch(store, slots=num))
    assert len(store.release_worker("w1")) == num
    claims = claim_all(store, dispatch(store, slots=num))
    clock.advance(11)
    assert len(store.take_back().lost) == len(claims)
    assert store.cancel_batch(batch.id) == num
    assert store.retry_batch(batch.id, states=[JobState.CANCELLED]) == num

    pieces = {name: [answer for called, _, answer in said if called == name] for name, _, _ in said}
    assert max(len(chosen) // 2 for chosen in pieces["dispatch"]) == JOBS_PER_CALL
    assert max(len(lost) + len(unclaimed) for lost, unclaimed, _ in pieces["take_back"]) == JOBS_PER_CALL
    assert max(len(released) - 1 for released in pieces["release_worker"]) == JOBS_PER_CALL
    assert [done for done, _ in pieces["cancel_batch"]] == [JOBS_PER_CALL, JOBS_PER_CALL, 50]
    assert [done for done, *_ in pieces["retry_batch"]] == [JOBS_PER_CALL, JOBS_PER_CALL, 50, 0]
    assert JOBS_PER_CALL <= 100


def test_rows_are_sent_in_pieces_by_number_and_by_bytes(store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    said, long = said_to(store, monkeypatch), "\u00e9" * 16_000
    batch = submit(store, requests=[*(request(f"{n} {long}") for n in range(40)), *[request()] * 250])

    sizes = [sum(len(str(arg).encode()) for arg in args) for name, args, _ in said if name == "add_rows"]
    assert len(sizes) > 40 * 32_000 / BYTES_PER_CALL + 2
    assert max(sizes) < BYTES_PER_CALL + 20_000
    assert [job.row for job in store.jobs(batch.id, limit=1000)] == list(range(290))


def test_many_batches_of_one_job_are_forgotten_in_one_round(store: RedisStore, clock: FakeMs):
    for _ in range(120):
        batch = submit(store)
        store.cancel_batch(batch.id)
        store.note_manifest(batch.id, clock.now_ms)
    clock.advance(CONFIG.retention_s)

    assert len(store.forget_batches()) == 120


def test_a_claim_that_is_said_twice_is_given_the_same_picture_to_take(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    store = RedisStore(CONFIG, redis_client, now_ms=FakeMs())
    submit(store)
    (first,) = claim_all(store, dispatch(store))
    assert store.finish(first.job_id, first.fence, replace(output(first), fingerprint=WEIGHTS))
    submit(store, reuse=True)
    (job_id,) = dispatch(store)
    monkeypatch.setattr(working, "new_token", lambda: "00000000")  # as when the first answer is lost

    claims = [store.claim(job_id, "w1") for _ in range(2)]

    assert claims[0] == claims[1]
    assert claims[0] is not None
    assert claims[0].source is not None
