"""What stands around the life of jobs, and is no part of the model: previews, seats, draining, keys, allowances."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import Conflict, NotFound
from sigmafarm_common.keys import KeyRecord, Scope
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import Fence, Preview
from tests.common.store_contract import FakeMs, dispatch, output, run_one, submit, worker
from tests.limits import until


class AroundContract:
    # -- previews

    def test_preview_is_the_newest_and_goes_with_the_try(self, store: Store, clock: FakeMs) -> None:
        claim = run_one(store, submit(store))
        assert store.preview(claim.job_id) is None

        store.show([Preview(claim.job_id, claim.fence, 2, b"\x00two")])
        store.show([Preview(claim.job_id, claim.fence, 3, b"\xffthree")])

        assert store.preview(claim.job_id) == Preview(claim.job_id, claim.fence, 3, b"\xffthree")
        assert store.job(claim.job_id).step == 3
        store.finish(claim.job_id, claim.fence, output(claim))
        assert store.preview(claim.job_id) is None

    def test_preview_of_an_old_fence_is_left_out_and_one_without_a_successor_goes(
        self, store: Store, clock: FakeMs
    ) -> None:
        claim = run_one(store, submit(store))
        other_number, other_token = claim.fence._replace(number=2), claim.fence._replace(token="0" * 8)
        store.show([Preview(claim.job_id, fence, 2, b"x") for fence in (other_number, other_token)])
        store.show([Preview("ghost", claim.fence, 2, b"x")])
        assert store.preview(claim.job_id) is None
        assert store.preview("ghost") is None

    def test_previews_are_wanted_while_somebody_looks(self, store: Store) -> None:
        assert not store.are_previews_wanted()
        store.want_previews(60)
        assert store.are_previews_wanted()

    def test_a_preview_gives_its_batch_a_new_revision_and_one_that_is_left_out_does_not(self, store: Store) -> None:
        batch = submit(store)
        claim = run_one(store, batch)
        revisions = [store.batch(batch.id).revision]

        for fence in (claim.fence, Fence(0, claim.fence.token)):
            store.show([Preview(claim.job_id, fence, 4, b"w")])
            revisions.append(store.batch(batch.id).revision)

        assert revisions[0] < revisions[1] == revisions[2]

    # -- clients that wait

    def test_seats_are_counted_each_once_until_they_are_left(self, store: Store) -> None:
        batch, other = submit(store), submit(store)

        for seat in ("a", "b", "b"):
            store.take_seat(batch.id, seat, for_s=60)
        store.leave_seat(batch.id, "a")
        store.leave_seat(batch.id, "nobody")

        assert (store.num_seats(batch.id), store.num_seats(other.id)) == (1, 0)
        store.leave_seat(batch.id, "b")
        assert store.num_seats(batch.id) == 0

    def test_a_seat_that_nobody_leaves_counts_for_its_time_only(self, store: Store, clock: FakeMs) -> None:
        batch = submit(store)

        store.take_seat(batch.id, "a", for_s=0.05)
        clock.advance(1)
        until(lambda: store.num_seats(batch.id) == 0, "its time is over")

    # -- drain

    def test_drained_worker_gets_no_jobs_until_it_may_again(self, store: Store) -> None:
        submit(store, 2)
        store.renew(worker("w1"), [])

        store.drain_worker("w1")

        assert (store.is_drained("w1"), store.workers()[0].is_draining) == (True, True)
        assert dispatch(store) == []
        for call in dispatch(store, name="w2", slots=1):
            assert store.claim(call, "w1") is None, "a call that it takes from another goes back"
        store.forget_worker("w2")
        store.drain_worker("w1", is_draining=False)
        assert (store.is_drained("w1"), store.workers()[0].is_draining) == (False, False)
        assert len(dispatch(store)) == 2

    def test_only_a_known_worker_can_be_drained_and_its_end_ends_that(self, store: Store) -> None:
        with pytest.raises(NotFound, match=r"no worker 'w1'.*sigmafarm workers"):
            store.drain_worker("w1")
        store.renew(worker("w1"), [])
        store.drain_worker("w1")

        store.forget_worker("w1")

        assert not store.is_drained("w1")

    # -- keys and allowances

    def test_keys_are_kept_listed_and_revoked(self, store: Store) -> None:
        one, _ = KeyRecord.make(name="ci", owner="ann", scopes=frozenset({Scope.READ}), now_ms=1)
        two, _ = KeyRecord.make(name="me", owner="ben", scopes=frozenset(Scope), now_ms=2)
        store.add_key(two)
        store.add_key(one)

        assert store.keys() == [one, two]
        assert store.key(one.id) == one
        store.add_key(one)
        with pytest.raises(Conflict):
            store.add_key(one.model_copy(update={"owner": "eve"}))
        store.revoke_key(one.id)
        assert (store.key(one.id), store.keys()) == (None, [two])
        with pytest.raises(NotFound, match="sigmafarm keys list"):
            store.revoke_key(one.id)

    def test_allowance_saves_up_a_burst_and_refills_steadily(self, store: Store, clock: FakeMs) -> None:
        granted = [store.spend("ann", per_s=2, burst=3) for _ in range(4)]
        assert granted == [0, 0, 0, 0.5]

        clock.advance(0.5)
        assert store.spend("ann", per_s=2, burst=3) == 0
        assert store.spend("ann", per_s=2, burst=3) == 0.5
        assert store.spend("ben", per_s=2, burst=3) == 0
        clock.advance(10)

        assert [store.spend("ann", per_s=2, burst=3) for _ in range(4)] == [0, 0, 0, 0.5]
        assert store.spend("eve", per_s=2, burst=3, amount=9) == 0, (
            "one that wants more than the burst may have it once"
        )
        assert store.spend("eve", per_s=2, burst=3) == 3.5
