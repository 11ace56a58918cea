"""Whose turn it is: what is reckoned of the line beside what the keeper's own script does."""

from __future__ import annotations

import pytest
import redis

from sigmafarm.forecast import Forecaster, eta_words, turn_words
from sigmafarm.forecast.line import turn_of
from sigmafarm_common.config import Config
from sigmafarm_common.records import Batch
from sigmafarm_common.store.ids import job_id
from sigmafarm_common.store.redis_store import RedisStore
from tests.common.store_contract import CONFIG, FakeMs, claim_all, request, submit, worker


@pytest.fixture
def store(redis_client: redis.Redis) -> RedisStore:
    return RedisStore(CONFIG, redis_client, now_ms=FakeMs())


def batch(store: RedisStore, num_jobs: int, steps: int = 10, owner: str = "ann", priority: int = 0) -> Batch:
    return submit(store, owner=owner, priority=priority, requests=[request(steps=steps) for _ in range(num_jobs)])


def dispatched_one_by_one(store: RedisStore) -> list[str]:
    """Let the keeper's script choose job after job, and return them in its order."""
    store.renew(worker(slots=10_000), [])
    order: list[str] = []
    while chosen := store.dispatch(limit=1):
        order += [each.job_id for each in chosen]
    return order


def positions(store: RedisStore, batches: list[Batch]) -> dict[str, int]:
    """What is said of every job that waits."""
    (line,) = store.lines()
    ids = [job_id(each.id, row) for each in batches for row in range(each.counts.total)]
    turns = {each: turn_of(line, each.partition("-")[0], store.place_of(each, "m")) for each in ids}
    return {each: turn.position for each, turn in turns.items() if turn}


def test_a_batch_alone_is_told_exactly(store: RedisStore):
    alone = batch(store, 5)

    said = positions(store, [alone])
    (line,) = store.lines()
    turn = turn_of(line, alone.id, store.place_of(job_id(alone.id, 3), "m"))

    assert [said[each] for each in dispatched_one_by_one(store)] == [1, 2, 3, 4, 5]
    assert turn is not None
    assert turn_words(turn, None) == "4th of 5 waiting"


@pytest.mark.parametrize(
    "batches",
    [
        [(7, 10, "ann", 0), (4, 10, "ben", 0)],
        [(7, 10, "ben", 0), (9, 10, "ann", 0), (3, 10, "eve", 0)],
        [(5, 10, "ann", 0), (5, 10, "ann", 0), (5, 10, "ben", 0)],
        [(6, 10, "ann", 0), (4, 10, "ben", 5), (2, 10, "ann", -3)],
        [(6, 10, "ann", 0), (12, 20, "ben", 0)],
        [(6, 30, "ann", 0), (12, 10, "ben", 0), (5, 20, "eve", 0)],
        [(8, 40, "ann", 1), (8, 10, "ann", 1), (8, 10, "ben", 1), (3, 10, "ben", 0)],
    ],
)
def test_the_line_is_reckoned_as_the_keepers_script_goes_about_it(
    store: RedisStore, batches: list[tuple[int, int, str, int]]
):
    made = [batch(store, num, steps, owner, priority) for num, steps, owner, priority in batches]
    store.renew(worker(slots=3), [])
    store.dispatch()  # some are on their way: owners have paid for them

    said = positions(store, made)
    order = dispatched_one_by_one(store)

    waiting = {each: said[each] for each in order}
    off = [abs(waiting[each] - 3 - place) for place, each in enumerate(order, start=1)]
    assert max(off) <= 2, "costs differ between an owner's batches: then it is about right"
    if len({(steps, owner) for _, steps, owner, _ in batches}) == len({owner for *_, owner, _ in batches}):
        assert max(off) == 0
    assert sorted(each for each, place in said.items() if place <= 3) == sorted(set(said) - set(order))


def test_only_a_line_that_is_shared_is_told_as_about(store: RedisStore):
    mine, other = batch(store, 3), batch(store, 3, owner="ben")
    urgent = batch(store, 2, owner="eve", priority=9)
    (line,) = store.lines()

    def turn(of: Batch, row: int = 0):  # type: ignore[no-untyped-def]
        return turn_of(line, of.id, store.place_of(job_id(of.id, row), "m"))

    assert [turn(each).is_exact for each in (mine, other, urgent)] == [False, False, True]
    assert turn_words(turn(mine, 2), None) == "about 7th of 8 waiting"


def test_a_job_that_does_not_wait_has_no_turn(store: RedisStore):
    paused, drawn = batch(store, 2), batch(store, 2, owner="ben")
    store.pause_batch(paused.id)
    store.renew(worker(slots=1), [])
    (called,) = [each.job_id for each in store.dispatch()]
    on_its_way = store.place_of(called, "m")
    claim_all(store, [called])
    (line,) = store.lines()

    assert on_its_way.num_called_before == 0
    assert turn_of(line, paused.id, store.place_of(job_id(paused.id, 0), "m")) is None
    assert turn_of(line, drawn.id, store.place_of(called, "m")) is None
    assert store.place_of("no-job", "m") == store.place_of(called, "m")


def test_a_line_is_read_in_a_handful_of_trips_however_many_wait(store: RedisStore, redis_client: redis.Redis):
    few = [batch(store, 2) for _ in range(2)]
    costs = [_commands(store, redis_client)]
    batch(store, 3000)
    costs.append(_commands(store, redis_client))

    assert few
    assert costs[1] <= costs[0] + 3, "a batch more is three commands of one pipeline, whatever it holds"
    assert len(store.lines(limit=1)[0].standings) == 1
    assert not store.lines(limit=1)[0].is_whole


def _commands(store: RedisStore, client: redis.Redis) -> int:
    before = client.info("stats")["total_commands_processed"]  # type: ignore[index]
    store.lines()
    return client.info("stats")["total_commands_processed"] - before - 1  # type: ignore[index]


class Standing:
    """A clock that stands still."""

    def monotonic_s(self) -> float:
        return 0.0

    def wall_s(self) -> float:
        return 0.0

    def wait(self, *_: object) -> bool:
        return False


def test_a_forecast_counts_what_goes_before(redis_client: redis.Redis):
    now_ms = FakeMs()
    store = RedisStore(Config(), redis_client, now_ms=now_ms)
    first = batch(store, 60)
    store.renew(worker(slots=4), [])
    for _ in range(10):
        for claim in claim_all(store, [each.job_id for each in store.dispatch()]):
            now_ms.advance(5)
            store.fail(claim.job_id, claim.fence, code="no", message="", retryable=False)
            store.renew(worker(slots=4), [])
    mine, other = batch(store, 10, owner="ben"), batch(store, 200, owner="eve", priority=5)

    forecaster = Forecaster(store, Standing())  # type: ignore[arg-type]
    etas = [forecaster.of_batch(store.batch(each.id)) for each in (first, mine, other)]
    turn, eta = forecaster.of_job(store.job(job_id(mine.id, 9)))

    assert all(etas)
    seconds = [each.seconds for each in etas if each]
    assert seconds[2] == pytest.approx(200 * 5, rel=0.05), "the urgent one has nobody before it"
    assert seconds[1] > seconds[2], "behind it comes the next"
    assert turn is not None
    assert 210 < turn.position <= 230
    assert eta is not None
    assert eta.least_s < 215 * 5 < (eta.most_s or 0)
    assert eta_words(eta).startswith("about ")
