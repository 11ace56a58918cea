"""What the farm was like in the last hour, by ten seconds: pictures, failures and waiting jobs, of bounded size."""

from __future__ import annotations

from dataclasses import dataclass, field

import redis

from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import PACE_ENTRIES, PACE_S
from tests.common.store_contract import CONFIG, FakeMs, claim_all, dispatch, output, submit


@dataclass
class Farm:
    """A store with a clock of its own."""

    client: redis.Redis
    clock: FakeMs = field(default_factory=FakeMs)

    def __post_init__(self) -> None:
        self.store = RedisStore(CONFIG.replaced(lease_s=1000), self.client, now_ms=self.clock)


def test_pictures_failures_and_waiting_jobs_are_told_by_ten_seconds(redis_client: redis.Redis):
    farm = Farm(redis_client)
    submit(farm.store, 5)
    farm.store.note_round()
    first, second, _ = claim_all(farm.store, dispatch(farm.store, slots=3))
    farm.clock.advance(PACE_S)

    farm.store.note_round()
    farm.store.finish(first.job_id, first.fence, output(first))
    farm.store.fail(second.job_id, second.fence, code="no", message="", retryable=False)

    told = [(each.num_pictures, each.num_failed, each.num_waiting) for each in farm.store.moments()]
    assert told == [(0, 0, 5), (1, 1, 2)]
    assert [each.num_pictures for each in farm.store.pace()] == [1], "the pace is of what was drawn"


def test_a_job_that_died_too_often_is_among_the_failures(redis_client: redis.Redis):
    farm = Farm(redis_client)
    submit(farm.store, 1)
    for _ in range(CONFIG.max_losses):
        claim_all(farm.store, dispatch(farm.store, slots=1))
        farm.store.release_worker("w1")

    assert [each.num_failed for each in farm.store.moments()] == [1]


def test_waiting_jobs_are_counted_once_in_ten_seconds_and_forgotten_after_an_hour(redis_client: redis.Redis):
    farm = Farm(redis_client)
    submit(farm.store, 2)
    farm.store.note_round()
    submit(farm.store, 2)
    farm.store.note_round()
    assert [each.num_waiting for each in farm.store.moments()] == [2]

    for _ in range(PACE_ENTRIES + 50):
        farm.clock.advance(PACE_S)
        farm.store.note_round()

    assert len(farm.store.moments()) == PACE_ENTRIES
    assert redis_client.hlen("sigmafarm:pace") <= PACE_ENTRIES + 1
