"""Priorities, and fair shares between owners and batches."""

from __future__ import annotations

import pytest

from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import SIZE_WINDOW
from tests.common.store_contract import claim_all, dispatch, output, request, submit, worker


def rows_done(store: Store, limit: int = 1000) -> list[int]:
    """Dispatch, draw what was chosen, and return its rows."""
    claims = claim_all(store, [d.job_id for d in store.dispatch(limit=limit)])
    for claim in claims:
        assert store.finish(claim.job_id, claim.fence, output(claim))
    return [int(claim.job_id[-6:]) for claim in claims]


class ShareContract:
    def test_higher_priority_goes_first(self, store: Store) -> None:
        low, high = submit(store, 5), submit(store, 2, priority=5)

        assert [j.split("-")[0] for j in dispatch(store, slots=3)] == [high.id, high.id, low.id]

    def test_changed_priority_counts_at_once(self, store: Store) -> None:
        submit(store, 5)
        late = submit(store, 1)

        assert store.set_priority(late.id, 3).priority == 3

        assert dispatch(store, slots=1) == [f"{late.id}-000000"]

    def test_batches_of_equal_priority_share_by_cost(self, store: Store) -> None:
        cheap = submit(store, requests=[request(steps=10)] * 100)
        dear = submit(store, requests=[request(steps=40)] * 100)

        chosen = [j.split("-")[0] for j in dispatch(store, slots=50)]

        assert chosen.count(cheap.id) == pytest.approx(40, abs=2)
        assert chosen.count(dear.id) == pytest.approx(10, abs=2)

    def test_owner_gains_nothing_by_many_batches(self, store: Store) -> None:
        many = [submit(store, 20, owner="ann").id for _ in range(9)]
        one = submit(store, 100, owner="ben")

        chosen = [j.split("-")[0] for j in dispatch(store, slots=60)]

        assert sum(chosen.count(b) for b in many) == pytest.approx(30, abs=1)
        assert chosen.count(one.id) == pytest.approx(30, abs=1)

    def test_trickle_of_small_batches_gains_nothing_over_a_big_one(self, store: Store) -> None:
        big = submit(store, 200, owner="ann")
        served = []
        for _ in range(40):
            submit(store, 1, owner="ben")
            store.renew(worker(slots=10_000), [])
            served += store.dispatch(limit=1)

        mine = [d for d in served if d.job_id.startswith(big.id)]
        assert len(mine) == pytest.approx(20, abs=2)

    def test_pictures_of_one_size_go_together_in_runs_of_as_many_as_are_drawn_at_once(self, store: Store) -> None:
        submit(store, requests=[request(side=64 if n % 2 else 128) for n in range(12)])
        store.renew(worker(slots=4), [])

        assert rows_done(store) == [0, 2, 4, 6]
        assert rows_done(store) == [1, 3, 5, 7]
        assert rows_done(store) == [8, 10, 9, 11], "what is left of a size, then the first row's"

    def test_row_of_another_size_waits_for_a_run_at_most(self, store: Store) -> None:
        submit(store, requests=[request(side=128 if n == 1 else 64) for n in range(12)])
        store.renew(worker(slots=4), [])

        assert rows_done(store) == [0, 2, 3, 4]
        assert rows_done(store) == [1, 5, 6, 7]

    def test_a_run_goes_on_where_workers_take_one_job_after_the_other(self, store: Store) -> None:
        submit(store, requests=[request(side=64 if n % 2 else 128) for n in range(8)])
        store.renew(worker(slots=2), [])

        assert [row for _ in range(8) for row in rows_done(store, limit=1)] == [0, 2, 1, 3, 4, 6, 5, 7]

    def test_a_run_of_one_size_goes_on_into_another_batch(self, store: Store) -> None:
        urgent = submit(store, requests=[request(side=64)], priority=1)
        mixed = submit(store, requests=[request(side=64 if n % 2 else 128) for n in range(8)])
        store.renew(worker(slots=4), [])

        chosen = [(d.job_id.split("-")[0], int(d.job_id[-6:])) for d in store.dispatch()]

        assert chosen == [(urgent.id, 0), (mixed.id, 1), (mixed.id, 3), (mixed.id, 5)]

    def test_rows_of_a_batch_of_one_size_go_in_their_order(self, store: Store) -> None:
        submit(store, requests=[request(side=64 if n % 2 else 128) for n in range(3)], priority=1)
        submit(store, 6)
        store.renew(worker(slots=9), [])

        assert [int(d.job_id[-6:]) for d in store.dispatch()] == [0, 2, 1, 0, 1, 2, 3, 4, 5]

    def test_rows_beyond_the_first_are_not_looked_at(self, store: Store) -> None:
        sides = [128, *[64] * SIZE_WINDOW, 128]
        submit(store, requests=[request(side=side) for side in sides])
        store.renew(worker(slots=2), [])

        assert rows_done(store) == [0, 1]

    def test_the_longest_of_the_last_rounds_go_first(self, store: Store) -> None:
        submit(store, requests=[request(steps=steps) for steps in (2, 9, 4, 7, 5, 3, 8, 6)])
        store.renew(worker(slots=2), [])

        assert rows_done(store) == [0, 1]
        assert rows_done(store) == [2, 3]
        assert rows_done(store) == [6, 7], "8 and 6 steps"
        assert rows_done(store) == [4, 5]

    def test_the_last_of_several_sizes_go_longest_first_within_a_size(self, store: Store) -> None:
        kinds = [(64, 3), (128, 2), (64, 9), (128, 5)]
        submit(store, requests=[request(side=side, steps=steps) for side, steps in kinds])
        store.renew(worker(slots=2), [])

        assert rows_done(store) == [2, 0]
        assert rows_done(store) == [3, 1]

    def test_each_model_has_its_own_room(self, store: Store) -> None:
        submit(store, requests=[request(model="m"), request(model="x"), request(model="m")])
        store.renew(worker("w1", slots=1), [])
        store.renew(worker("w2", slots=1, models=("x",)), [])

        assert sorted(d.model for d in store.dispatch()) == ["m", "x"]

    def test_queues_tell_what_waits(self, store: Store) -> None:
        submit(store, 5)
        submit(store, 2, priority=3)
        claim_all(store, dispatch(store, slots=3)[:1])

        (queue,) = store.queues()

        assert (queue.model, dict(queue.waiting), queue.dispatched, queue.running) == ("m", {0: 4}, 2, 1)
