"""Priorities, and fair shares between owners and batches."""

from __future__ import annotations

import pytest

from sigmafarm_common.store.protocol import Store
from tests.common.store_contract import claim_all, dispatch, request, submit, worker


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
