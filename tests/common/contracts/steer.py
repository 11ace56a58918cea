"""Pause, resume, priority, cancel, retry."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import Conflict, IllegalTransition, InvalidRequest, NotFound
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import Beat, DropReason
from tests.common.store_contract import FakeMs, claim_all, counts, dispatch, output, run_one, submit, worker


class SteerContract:
    def test_paused_batch_is_not_dispatched_until_it_is_resumed(self, store: Store) -> None:
        batch = submit(store, 2)

        assert store.pause_batch(batch.id).is_paused
        assert dispatch(store) == []
        assert not store.resume_batch(batch.id).is_paused
        assert len(dispatch(store)) == 2

    def test_call_of_a_paused_batch_is_refused_and_its_job_waits(self, store: Store) -> None:
        batch = submit(store)
        (job_id,) = dispatch(store)
        store.pause_batch(batch.id)

        assert store.claim(job_id, "w1") is None
        store.resume_batch(batch.id)
        assert dispatch(store) == [job_id]

    def test_running_job_of_a_paused_batch_is_dropped_and_waits(self, store: Store) -> None:
        batch = submit(store)
        claim = run_one(store, batch)
        store.pause_batch(batch.id)

        drop = store.renew(worker(), [Beat(claim.job_id, claim.fence, 1, True)])

        assert drop == store.drops([claim.tried]) == {claim.tried: DropReason.PAUSED}
        store.release(claim.job_id, claim.fence, outcome="paused")
        assert dispatch(store) == []

    def test_cancelled_batch_is_cancelled_whole_at_once(self, store: Store) -> None:
        batch = submit(store, 2500)
        claims = claim_all(store, dispatch(store, slots=3))
        store.finish(claims[0].job_id, claims[0].fence, output(claims[0]))

        assert store.cancel_batch(batch.id) == 2499

        assert counts(store, batch) == {"succeeded": 1, "cancelled": 2499}
        assert dispatch(store, slots=10) == []
        drop = store.renew(worker(), [Beat(claims[1].job_id, claims[1].fence, 1, True)])
        assert drop == store.drops([c.tried for c in claims[1:2]]) == {claims[1].tried: DropReason.CANCELLED}
        assert not store.finish(claims[1].job_id, claims[1].fence, output(claims[1]))
        assert store.batch(batch.id).finished_ms > 0

    def test_cancelled_job_leaves_the_others_alone(self, store: Store) -> None:
        batch = submit(store, 3)

        assert store.cancel_job(f"{batch.id}-000001") is JobState.CANCELLED

        assert dispatch(store) == [f"{batch.id}-000000", f"{batch.id}-000002"]

    def test_cancel_of_a_terminal_job_changes_nothing(self, store: Store) -> None:
        claim = run_one(store, submit(store))
        store.finish(claim.job_id, claim.fence, output(claim))

        assert store.cancel_job(claim.job_id) is JobState.SUCCEEDED

    def test_retried_job_runs_again_with_its_history_kept(self, store: Store) -> None:
        batch = submit(store)
        claim = run_one(store, batch)
        store.fail(claim.job_id, claim.fence, code="bad", message="no", retryable=False)

        store.retry_job(claim.job_id)

        job = store.job(claim.job_id)
        assert (job.state, job.attempts, job.error, len(job.history)) == (JobState.QUEUED, 0, "", 1)
        assert store.batch(batch.id).finished_ms == 0
        assert run_one(store, batch).fence.number == 2

    def test_back_off_of_a_cancelled_job_is_over_for_good(self, store: Store, clock: FakeMs) -> None:
        claim = run_one(store, submit(store))
        store.fail(claim.job_id, claim.fence, code="oops", message="once", retryable=True)
        store.cancel_job(claim.job_id)
        store.retry_job(claim.job_id)
        assert dispatch(store) == [claim.job_id]
        clock.advance(3)

        store.take_back()

        assert dispatch(store) == []

    def test_only_failed_and_cancelled_jobs_can_be_retried(self, store: Store) -> None:
        claim = run_one(store, submit(store))

        with pytest.raises(IllegalTransition, match="running"):
            store.retry_job(claim.job_id)
        store.finish(claim.job_id, claim.fence, output(claim))
        with pytest.raises(IllegalTransition, match="succeeded"):
            store.retry_job(claim.job_id)

    def test_retry_of_a_batch_takes_the_states_that_are_named(self, store: Store) -> None:
        batch = submit(store, 3)
        claim = run_one(store, batch)
        store.fail(claim.job_id, claim.fence, code="bad", message="no", retryable=False)
        store.cancel_batch(batch.id)

        assert store.retry_batch(batch.id) == 1
        assert store.retry_batch(batch.id, states=[JobState.FAILED, JobState.CANCELLED]) == 2
        assert counts(store, batch) == {"queued": 3}
        assert len(dispatch(store)) == 3

    def test_unknown_batches_and_jobs_are_not_found(self, store: Store) -> None:
        calls = [store.batch, store.pause_batch, store.resume_batch, store.cancel_batch, store.retry_batch]
        for call in [*calls, lambda b: store.set_priority(b, 1)]:
            with pytest.raises(NotFound, match="nosuch"):
                call("nosuch")
        for job_call in (store.job, store.cancel_job, store.retry_job):
            with pytest.raises(NotFound, match="nosuch"):
                job_call("nosuch")

    def test_a_priority_that_the_queue_has_no_place_for_is_refused(self, store: Store) -> None:
        batch = submit(store, 2)
        for bad in (101, -101, 1.5, True, "3", None, 10**30):
            with pytest.raises(InvalidRequest, match="must be a whole number between -100 and 100"):
                store.set_priority(batch.id, bad)  # pyright: ignore[reportArgumentType]
        for good in (100, -100):
            assert store.set_priority(batch.id, good).priority == good
        assert len(dispatch(store)) == 2

    def test_text_that_is_no_id_cannot_name_another_key(self, store: Store) -> None:
        batch = submit(store)
        job_id = f"{batch.id}-000000"

        for call in (store.batch, store.pause_batch, store.cancel_batch, store.retry_batch):
            with pytest.raises(NotFound):
                call(f"{batch.id}:queued")
        assert store.jobs(f"{batch.id}:ready:m") == []
        for job_call in (store.job, store.cancel_job, store.retry_job):
            for text in (f"{job_id}:request", f"{batch.id}-0000000", f"{job_id}\n"):
                with pytest.raises(NotFound):
                    job_call(text)
        assert counts(store, batch) == {"queued": 1}

    def test_rated_picture_is_counted_and_told_until_the_rating_is_taken_back(self, store: Store) -> None:
        batch = submit(store, 2)
        claim = run_one(store, batch)
        with pytest.raises(Conflict, match="is running and cannot be rated: only drawn pictures can"):
            store.rate_job(claim.job_id, 5)
        store.finish(claim.job_id, claim.fence, output(claim))

        store.rate_job(claim.job_id, 4)
        store.rate_job(claim.job_id, 4)

        assert (store.job(claim.job_id).rating, store.batch(batch.id).num_rated) == (4, 1)
        assert [e.kind for e in store.events(after="0")].count("job.rated") == 1
        store.rate_job(claim.job_id, 0)
        assert (store.job(claim.job_id).rating, store.batch(batch.id).num_rated) == (0, 0)
        with pytest.raises(NotFound):
            store.rate_job(f"{batch.id}-000009", 1)
        with pytest.raises(InvalidRequest, match="rating is 6: must be a whole number from 1 to 5, or 0 for no rating"):
            store.rate_job(claim.job_id, 6)

    def test_rating_of_a_batch_that_is_over_makes_its_manifest_due_again(self, store: Store) -> None:
        batch = submit(store)
        claim = run_one(store, batch)
        store.finish(claim.job_id, claim.fence, output(claim))
        written = store.batch(batch.id)
        store.rate_job(claim.job_id, 3)

        store.note_manifest(batch.id, written.finished_ms, written.revision)  # it was read before the rating
        assert store.finished_batches() == [batch.id]
        again = store.batch(batch.id)
        store.note_manifest(batch.id, again.finished_ms, again.revision)
        assert store.finished_batches() == []
        store.rate_job(claim.job_id, 5)
        assert store.finished_batches() == [batch.id]
