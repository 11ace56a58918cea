"""The life of a job: claim, renew, finish, fail, release."""

from __future__ import annotations

import pytest

from sigmafarm_common.states import TRANSITIONS, JobState
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import HISTORY_LIMIT
from tests.common.store_contract import (
    CONFIG,
    FakeMs,
    claim_all,
    counts,
    dispatch,
    output,
    run_one,
    submit,
    worker,
)


class LifeContract:
    def test_job_goes_from_queued_through_running_to_succeeded(self, store: Store) -> None:
        batch = submit(store)
        claim = run_one(store, batch)
        assert counts(store, batch) == {"running": 1}

        assert store.finish(claim.job_id, claim.fence, output(claim))

        job = store.job(claim.job_id)
        assert (job.state, job.worker, job.sha256, job.step) == (JobState.SUCCEEDED, "w1", "a" * 64, 10)
        assert store.batch(batch.id).finished_ms > 0
        assert counts(store, batch) == {"succeeded": 1}

    def test_finish_said_twice_is_accepted_twice_and_counted_once(self, store: Store) -> None:
        batch = submit(store)
        claim = run_one(store, batch)

        assert store.finish(claim.job_id, claim.fence, output(claim))
        assert store.finish(claim.job_id, claim.fence, output(claim))
        assert counts(store, batch) == {"succeeded": 1}

    def test_only_a_dispatched_job_can_be_claimed(self, store: Store) -> None:
        batch = submit(store)

        assert store.claim(f"{batch.id}-000000", "w1") is None
        assert store.claim(f"{batch.id}-000099", "w1") is None
        assert store.claim("forged", "w1") is None

    def test_duplicate_message_is_refused(self, store: Store) -> None:
        claim = run_one(store, submit(store))

        assert store.claim(claim.job_id, "w2") is None

    def test_forged_message_cannot_name_another_key(self, store: Store) -> None:
        batch = submit(store)
        (job_id,) = dispatch(store)

        for forged in (f"{job_id}:request", f"{job_id}:history", f"{batch.id}-0000000", f"{job_id}\n", "", "*"):
            assert store.claim(forged, "w1") is None

        assert store.claim(job_id, "w1")

    def test_dispatch_fills_the_free_room_of_living_workers_and_no_more(self, store: Store) -> None:
        submit(store, 10)

        assert len(dispatch(store, slots=3, lookahead=1)) == 4
        assert store.dispatch() == []

    def test_claimed_and_finished_jobs_make_room(self, store: Store) -> None:
        submit(store, 10)
        (claim, *_) = claim_all(store, dispatch(store, slots=3))
        assert store.dispatch() == []

        store.finish(claim.job_id, claim.fence, output(claim))

        assert len(store.dispatch()) == 1

    def test_nothing_is_dispatched_to_dead_draining_failing_or_unfit_workers(self, store: Store, clock: FakeMs) -> None:
        submit(store, 3)
        store.renew(worker("dead"), [])
        clock.advance(21)
        store.renew(worker("drains").model_copy(update={"is_draining": True}), [])
        store.renew(worker("ill").model_copy(update={"failing": "5 jobs in a row failed here"}), [])
        store.renew(worker("other", models=("x",)), [])

        assert store.dispatch() == []

    def test_retryable_error_queues_the_job_again_after_a_delay_that_doubles(self, store: Store, clock: FakeMs) -> None:
        batch = submit(store)
        claim = run_one(store, batch)

        state = store.fail(claim.job_id, claim.fence, code="oops", message="once", retryable=True)

        assert state is JobState.QUEUED
        for delay_s in (2, 4):
            clock.advance(delay_s - 0.001)
            store.take_back()
            assert dispatch(store) == []
            clock.advance(0.001)
            store.take_back()
            (claim,) = claim_all(store, dispatch(store))
            state = store.fail(claim.job_id, claim.fence, code="oops", message="again", retryable=True)
        assert state is JobState.FAILED
        job = store.job(claim.job_id)
        assert (job.attempts, job.error_code, job.error, len(job.history)) == (3, "oops", "again", 3)
        assert counts(store, batch) == {"failed": 1}

    def test_back_off_grows_to_a_minute_and_the_history_keeps_the_newest_tries(
        self, patient_store: Store, clock: FakeMs
    ) -> None:
        store = patient_store
        batch = submit(store)
        for _ in range(HISTORY_LIMIT + 3):
            claim = run_one(store, batch)
            store.fail(claim.job_id, claim.fence, code="oops", message="again", retryable=True)
            clock.advance(60)
            store.take_back()
        claim = run_one(store, batch)
        store.fail(claim.job_id, claim.fence, code="oops", message="the last", retryable=True)

        clock.advance(59.999)
        store.take_back()
        assert dispatch(store) == []
        clock.advance(0.001)
        store.take_back()
        assert dispatch(store) == [claim.job_id]
        history = store.job(claim.job_id).history
        assert [t.fence for t in history] == list(range(5, HISTORY_LIMIT + 5))
        assert history[-1].error == "the last"

    @pytest.mark.parametrize("end", ["finish", "fail", "cancel_job", "cancel_batch", "lose"])
    def test_end_of_a_batch_is_told_after_that_of_its_last_job(self, store: Store, end: str) -> None:
        batch = submit(store, 2)
        first, second = claim_all(store, dispatch(store, slots=2))
        store.finish(first.job_id, first.fence, output(first))
        last = store.events(after="0")[-1].id

        match end:
            case "finish":
                store.finish(second.job_id, second.fence, output(second))
            case "fail":
                store.fail(second.job_id, second.fence, code="bad", message="no", retryable=False)
            case "cancel_job":
                store.cancel_job(second.job_id)
            case "cancel_batch":
                store.cancel_batch(batch.id)
            case _:
                for _ in range(CONFIG.max_losses):
                    store.release_worker("w1")
                    claim_all(store, [j for j in dispatch(store) if store.batch(batch.id).counts.failed == 0])

        kinds = [e.kind for e in store.events(after=last)]
        assert kinds.count("batch.finished") == 1
        assert kinds[-1] == "batch.finished"
        store.cancel_batch(batch.id)
        assert [e.kind for e in store.events(after=last)] == kinds

    def test_error_that_no_retry_can_mend_fails_at_once(self, store: Store) -> None:
        claim = run_one(store, submit(store))

        assert store.fail(claim.job_id, claim.fence, code="bad", message="no", retryable=False) is JobState.FAILED

    def test_released_job_is_queued_at_its_old_place_and_counts_no_try(self, store: Store) -> None:
        batch = submit(store, 3)
        claim = run_one(store, batch)

        assert store.release(claim.job_id, claim.fence, why="the disk is full")

        assert dispatch(store, slots=1) == [claim.job_id]
        job = store.job(claim.job_id)
        assert (job.attempts, job.losses, job.history[0].outcome) == (0, 0, "released")
        assert job.history[0].error == "the disk is full"

    def test_every_move_of_the_table_happens_and_is_announced(self, store: Store) -> None:
        assert {t.script for t in TRANSITIONS} == {
            "claim", "finish", "fail", "release", "take_back", "cancel", "retry"
        }  # fmt: skip

        claim = run_one(store, submit(store))
        store.finish(claim.job_id, claim.fence, output(claim))

        kinds = [e.kind for e in store.events(after="0")]
        assert kinds == ["batch.submitted", "job.running", "job.succeeded", "batch.finished"]
