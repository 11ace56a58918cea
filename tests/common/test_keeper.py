"""The keeper on a real server, with a clock of its own and a list in place of Celery's queue."""

from __future__ import annotations

import threading

import pytest
import redis

from sigmafarm_common.errors import SpoiledRecord, StoreUnavailable
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Dispatched
from tests.common.store_contract import CONFIG, FakeMs, claim_all, output, submit, worker
from tests.limits import LIMIT_S, until


class FakeClock:
    """Monotonic seconds that stand still until they are told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.now_s += timeout_s
        return event.is_set()


class Farm:
    """A store, its clocks, what was published, and a keeper."""

    def __init__(self, client: redis.Redis) -> None:
        self.ms, self.clock = FakeMs(), FakeClock()
        self.store = RedisStore(CONFIG, client, now_ms=self.ms)
        self.published: list[Dispatched] = []
        self.keeper = self.make_keeper()

    def make_keeper(self) -> Keeper:
        return Keeper(CONFIG, self.store, self.published.extend, clock=self.clock)

    def advance(self, seconds: float) -> None:
        self.ms.advance(seconds)
        self.clock.now_s += seconds


@pytest.fixture
def farm(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Farm:
    monkeypatch.setattr(RedisStore, "server_uptime_s", lambda _self: 1e6)
    return Farm(redis_client)


def test_round_publishes_what_it_dispatches(farm: Farm) -> None:
    submit(farm.store, 3)
    farm.store.renew(worker(slots=2), [])

    farm.keeper.run_once()

    assert [d.job_id[-1] for d in farm.published] == ["0", "1"]


def test_after_a_dispatch_for_the_bell_the_store_has_three_times_as_long_for_others(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm.keeper.run_once()
    submit(farm.store)
    farm.store.renew(worker(slots=1), [])
    dispatch = farm.store.dispatch

    def slow_dispatch() -> list[Dispatched]:
        farm.clock.now_s += 0.05
        return dispatch()

    monkeypatch.setattr(farm.store, "dispatch", slow_dispatch)
    begun_s = farm.clock.now_s

    farm.keeper._heed_bell(1.0)

    assert len(farm.published) == 1
    assert farm.clock.now_s - begun_s == pytest.approx(0.05 + 3 * 0.05)


def test_only_the_leader_works_and_a_stopped_leader_makes_way(farm: Farm) -> None:
    second = farm.make_keeper()
    assert farm.keeper.run_once() is not None
    assert second.run_once() is None

    farm.keeper.stop()

    assert second.run_once() is not None


def test_job_whose_call_was_lost_between_choice_and_publishing_is_dispatched_again(farm: Farm) -> None:
    submit(farm.store)
    farm.store.renew(worker(), [])
    farm.store.dispatch()  # a keeper that dies here has published nothing

    farm.advance(CONFIG.unclaimed_s + 0.1)
    farm.store.renew(worker(), [])
    farm.keeper.run_once()

    assert len(farm.published) == 1


def test_expired_lease_is_taken_back_and_dispatched_in_one_round(farm: Farm) -> None:
    submit(farm.store)
    farm.store.renew(worker(slots=1), [])
    farm.keeper.run_once()
    claim_all(farm.store, [farm.published[0].job_id])
    farm.advance(CONFIG.lease_s + 0.1)
    farm.store.renew(worker("w2", slots=1), [])

    done = farm.keeper.run_once()

    assert done is not None
    assert done.taken_back.lost == (farm.published[0].job_id,)
    assert len(farm.published) == 2


def test_leases_are_not_judged_for_a_whole_lease_after_the_store_was_away(farm: Farm) -> None:
    submit(farm.store)
    farm.store.renew(worker(slots=1), [])
    farm.keeper.run_once()
    (claim,) = claim_all(farm.store, [farm.published[0].job_id])
    farm.keeper.on_away()
    farm.advance(CONFIG.lease_s - 0.1)
    farm.ms.advance(60)

    assert farm.keeper.run_once().taken_back.lost == ()  # type: ignore[union-attr]
    assert farm.store.finish(claim.job_id, claim.fence, output(claim))


def test_leases_are_not_judged_beside_a_server_that_is_just_up(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(farm.store)
    farm.store.renew(worker(slots=1), [])
    (job,) = farm.store.dispatch()
    claim_all(farm.store, [job.job_id])
    farm.ms.advance(60)
    monkeypatch.setattr(RedisStore, "server_uptime_s", lambda _self: 1.0)

    assert farm.keeper.run_once().taken_back.lost == ()  # type: ignore[union-attr]
    farm.advance(CONFIG.lease_s)
    assert farm.keeper.run_once().taken_back.lost == (job.job_id,)  # type: ignore[union-attr]


def test_leases_are_not_judged_by_one_who_begins_to_lead_where_nobody_has_for_a_lease(farm: Farm) -> None:
    """The store was away, from the leader that died meanwhile too: workers that draw on have a lease to say so."""
    submit(farm.store)
    farm.store.renew(worker(slots=1), [])
    farm.keeper.run_once()
    (claim,) = claim_all(farm.store, [farm.published[0].job_id])
    farm.store.resign(farm.keeper.id)
    farm.advance(CONFIG.lease_s + 1)
    late = farm.make_keeper()

    assert late.run_once().taken_back.lost == ()  # type: ignore[union-attr]
    assert farm.store.finish(claim.job_id, claim.fence, output(claim))


def test_leases_are_judged_at_once_by_one_who_takes_over_soon(farm: Farm) -> None:
    submit(farm.store)
    farm.store.renew(worker(slots=1), [])
    farm.keeper.run_once()
    claim_all(farm.store, [farm.published[0].job_id])
    farm.advance(CONFIG.lease_s - 1)
    farm.keeper.run_once()
    farm.store.resign(farm.keeper.id)
    farm.advance(2)  # less than half a lease, and more than the rest of it
    late = farm.make_keeper()

    assert late.run_once().taken_back.lost == (farm.published[0].job_id,)  # type: ignore[union-attr]


def test_loop_goes_on_after_a_round_in_which_the_store_was_away(farm: Farm) -> None:
    calls = []

    def publish(_jobs: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise StoreUnavailable("away")

    keeper = Keeper(CONFIG, farm.store, publish, clock=farm.clock)

    keeper.run_now()
    keeper.run_now()

    assert len(calls) == 2
    assert keeper.is_leader


def test_leader_dispatches_at_the_bell_and_does_not_wait_for_its_round(farm: Farm) -> None:
    keeper = Keeper(CONFIG.replaced(tick_s=2 * LIMIT_S), farm.store, farm.published.extend)
    farm.store.renew(worker(slots=1), [])
    keeper.start()
    until(lambda: keeper.is_leader, "its first round is over")

    submit(farm.store, 2)
    until(lambda: farm.published, "what came is dispatched")
    (claim,) = claim_all(farm.store, [farm.published[0].job_id])
    assert farm.store.finish(claim.job_id, claim.fence, output(claim))
    until(lambda: len(farm.published) == 2, "the next one has the room")

    keeper.stop()
    assert farm.store.lead("another", 1), "it has resigned"


def test_a_keeper_goes_on_with_its_rounds_where_the_bell_cannot_be_heard(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(farm.store, monkeypatch, "wait_for_bell", ValueError("no such command"))
    keeper = Keeper(CONFIG.replaced(tick_s=0.01), farm.store, farm.published.extend)
    farm.store.renew(worker(slots=1), [])
    keeper.start()

    submit(farm.store)
    until(lambda: farm.published, "a round dispatches it")
    keeper.stop()


def fail_at(store: RedisStore, monkeypatch: pytest.MonkeyPatch, name: str, why: Exception) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise why

    monkeypatch.setattr(store, name, fail)


@pytest.mark.parametrize(
    "part", ["take_back", "open_cancels", "cancel_batch", "stale_batches", "discard_batch", "mend", "forget_batches"]
)
@pytest.mark.parametrize("why", [ValueError("no such shape"), SpoiledRecord("WRONGTYPE")])
def test_part_that_fails_stops_no_other_and_is_told(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, part: str, why: Exception
) -> None:
    farm.store.begin_batch(name="dead", owner="ann", priority=0, defaults={})
    farm.advance(CONFIG.submit_stale_s)
    farm.store.client.sadd("sigmafarm:cancelling", submit(farm.store).id)
    submit(farm.store, 2, priority=1)
    farm.store.renew(worker(slots=2), [])
    fail_at(farm.store, monkeypatch, part, why)

    done = farm.keeper.run_once()

    assert len(farm.published) == 2
    assert done is not None
    assert len(done.failed) == 1
    assert str(why) in farm.store.rounds().error
    assert (farm.store.rounds().good_ms, farm.store.rounds().failed_ms) == (0, farm.ms.now_ms)
    monkeypatch.undo()
    farm.keeper.run_once()
    assert farm.store.rounds().good_ms == farm.ms.now_ms


def test_cancels_and_dead_submits_are_guarded_one_by_one(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sorted(submit(farm.store).id for _ in range(2))
    farm.store.client.sadd("sigmafarm:cancelling", first, second)
    cancel = farm.store.cancel_batch

    def fail_at_first(batch_id: str) -> int:
        if batch_id == first:
            raise SpoiledRecord("WRONGTYPE")
        return cancel(batch_id)

    monkeypatch.setattr(farm.store, "cancel_batch", fail_at_first)

    done = farm.keeper.run_once()

    assert done is not None
    assert [said.split(":")[0] for said in done.failed] == [f"go on with the cancel of {first}"]
    assert farm.store.batch(second).counts.cancelled == 1


def test_service_that_is_away_ends_the_round(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(farm.store, monkeypatch, "open_cancels", StoreUnavailable("away"))

    with pytest.raises(StoreUnavailable, match="away"):
        farm.keeper.run_once()
