"""Leases, calls that nobody answers, workers that die or vanish."""

from __future__ import annotations

from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import Beat, DropReason, Try
from tests.common.store_contract import CONFIG, FakeMs, claim_all, counts, dispatch, output, run_one, submit, worker


class LeaseContract:
    def test_lost_lease_puts_the_job_back_once(self, store: Store, clock: FakeMs) -> None:
        batch = submit(store)
        claim = run_one(store, batch)
        clock.advance(10.001)

        assert store.take_back().lost == (claim.job_id,)
        assert store.take_back().lost == ()

        job = store.job(claim.job_id)
        assert (job.state, job.losses, job.history[0].outcome) == (JobState.QUEUED, 1, "lost")

    def test_lease_is_not_judged_when_the_keeper_asks_not_to(self, store: Store, clock: FakeMs) -> None:
        claim = run_one(store, submit(store))
        clock.advance(10.001)

        assert store.take_back(judge_leases=False).lost == ()
        assert store.job(claim.job_id).state is JobState.RUNNING

    def test_late_finish_fail_release_and_renew_are_refused(self, store: Store, clock: FakeMs) -> None:
        batch = submit(store)
        old = run_one(store, batch)
        clock.advance(11)
        store.take_back()
        (new,) = claim_all(store, dispatch(store, name="w2"), "w2")

        assert new.fence.number == old.fence.number + 1
        assert not store.finish(old.job_id, old.fence, output(old))
        assert store.fail(old.job_id, old.fence, code="x", message="x", retryable=True) is None
        assert not store.release(old.job_id, old.fence)
        assert store.renew(worker(), [Beat(old.job_id, old.fence, 5, True)]) == {old.tried: DropReason.LOST}
        assert store.finish(new.job_id, new.fence, output(new))
        assert counts(store, batch) == {"succeeded": 1}

    def test_word_under_the_right_number_and_another_token_counts_for_nothing(self, store: Store) -> None:
        """A store that lost its newest writes gives a number again: who had it before is told by the token."""
        batch = submit(store)
        claim = run_one(store, batch)
        before = claim.fence._replace(token="0" * 8)

        assert not store.finish(claim.job_id, before, output(claim))
        assert store.fail(claim.job_id, before, code="x", message="x", retryable=True) is None
        assert not store.release(claim.job_id, before)
        assert store.renew(worker(), [Beat(claim.job_id, before, 5, True)]) == {
            Try(claim.job_id, before): DropReason.LOST
        }
        assert store.finish(claim.job_id, claim.fence, output(claim))
        assert not store.finish(claim.job_id, before, output(claim))
        assert counts(store, batch) == {"succeeded": 1}

    def test_older_try_of_a_job_that_was_cancelled_and_queued_again_is_lost_and_the_newer_goes_on(
        self, store: Store
    ) -> None:
        batch = submit(store)
        old = run_one(store, batch)
        store.cancel_job(old.job_id)
        store.retry_job(old.job_id)
        (new,) = claim_all(store, dispatch(store))

        assert store.drops([old.tried, new.tried]) == {old.tried: DropReason.LOST}
        assert store.renew(worker(), [Beat(c.job_id, c.fence, 5, True) for c in (old, new)]) == {
            old.tried: DropReason.LOST
        }
        assert store.finish(new.job_id, new.fence, output(new))

    def test_job_of_which_a_living_worker_no_longer_speaks_comes_back_and_nobody_died(
        self, store: Store, clock: FakeMs
    ) -> None:
        """As after a claim whose answer was lost: the worker renews, and does not know that it has the job."""
        batch = submit(store)
        for number in range(1, CONFIG.max_losses + 2):
            claim = run_one(store, batch)
            clock.advance(9)
            store.renew(worker(), [])
            clock.advance(1.001)

            assert store.take_back().lost == (claim.job_id,)
            job = store.job(claim.job_id)
            assert (job.state, job.losses, len(job.history)) == (JobState.QUEUED, 0, number)
            assert "lives and does not have it" in job.history[-1].error

    def test_job_that_stands_still_in_a_living_worker_counts_a_loss(self, store: Store, clock: FakeMs) -> None:
        claim = run_one(store, submit(store))
        clock.advance(9)
        store.renew(worker(), [Beat(claim.job_id, claim.fence, 0, False)])
        clock.advance(1.001)

        store.take_back()

        assert store.job(claim.job_id).losses == 1

    def test_worker_that_fell_silent_soon_after_it_renewed_without_the_job_counts_a_loss(
        self, store: Store, clock: FakeMs
    ) -> None:
        """The renewal was under way while the claim was made; then the worker died."""
        claim = run_one(store, submit(store))
        clock.advance(1)
        store.renew(worker(), [])
        clock.advance(9.001)

        store.take_back()

        assert store.job(claim.job_id).losses == 1

    def test_late_finish_is_refused_after_another_has_finished(self, store: Store, clock: FakeMs) -> None:
        old = run_one(store, submit(store))
        clock.advance(11)
        store.take_back()
        (new,) = claim_all(store, dispatch(store, name="w2"), "w2")
        store.finish(new.job_id, new.fence, output(new))

        assert not store.finish(old.job_id, old.fence, output(old))
        assert store.job(new.job_id).image_key == output(new).image_key

    def test_renewal_lengthens_only_leases_of_jobs_that_moved(self, store: Store, clock: FakeMs) -> None:
        submit(store, 2)
        moving, still = claim_all(store, dispatch(store, slots=2))
        clock.advance(8)

        store.renew(worker(), [Beat(moving.job_id, moving.fence, 4, True), Beat(still.job_id, still.fence, 0, False)])
        clock.advance(5)

        assert store.take_back().lost == (still.job_id,)
        assert store.job(moving.job_id).step == 4

    def test_too_many_losses_fail_the_job(self, store: Store, clock: FakeMs) -> None:
        batch = submit(store)
        for _ in range(3):
            run_one(store, batch)
            clock.advance(11)
            store.take_back()

        job = store.jobs(batch.id)[0]
        assert (job.state, job.error_code, job.losses) == (JobState.FAILED, "lost", 3)

    def test_dead_workers_jobs_come_back_at_once(self, store: Store) -> None:
        batch = submit(store, 3)
        claims = claim_all(store, dispatch(store, slots=2))

        assert set(store.release_worker("w1")) == {c.job_id for c in claims}

        assert counts(store, batch) == {"queued": 3}
        assert store.workers() == []
        assert [j.losses for j in store.jobs(batch.id)] == [1, 1, 0]

    def test_worker_that_ends_in_order_costs_its_jobs_nothing(self, store: Store) -> None:
        batch = submit(store)
        run_one(store, batch)

        store.forget_worker("w1")

        assert [(j.state, j.losses) for j in store.jobs(batch.id)] == [(JobState.QUEUED, 0)]

    def test_unclaimed_call_is_forgotten_and_dispatched_again(self, store: Store, clock: FakeMs) -> None:
        submit(store)
        (job_id,) = dispatch(store)
        clock.advance(5.001)

        assert store.take_back().unclaimed == (job_id,)
        assert store.claim(job_id, "w1") is None
        assert dispatch(store) == [job_id]

    def test_worker_that_has_no_model_yet_is_listed(self, store: Store) -> None:
        store.renew(worker(models=()), [])

        assert [(w.id, w.models) for w in store.workers()] == [("w1", ())]

    def test_worker_keeps_its_start_until_it_vanished_for_a_day(self, store: Store, clock: FakeMs) -> None:
        store.renew(worker(), [])
        start_ms = clock.now_ms
        clock.advance(24 * 3600 - 1)
        store.take_back()
        store.renew(worker(), [])
        assert store.workers()[0].started_ms == start_ms

        clock.advance(24 * 3600)
        store.take_back()
        store.renew(worker(), [])

        assert store.workers()[0].started_ms == clock.now_ms

    def test_workers_are_listed_while_they_are_seen(self, store: Store, clock: FakeMs) -> None:
        store.renew(worker("w1"), [])
        clock.advance(15)
        store.renew(worker("w2"), [])
        clock.advance(6)

        assert [w.id for w in store.workers()] == ["w2"]
