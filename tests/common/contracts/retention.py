"""What is over is forgotten, and nothing else."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import NotFound
from sigmafarm_common.records import Batch
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from tests.common.store_contract import FakeMs, claim_all, counts, dispatch, request, submit, worker


class RetentionContract:
    def test_finished_batch_is_forgotten_whole_when_its_time_is_over(self, store: Store, clock: FakeMs) -> None:
        batch = conclude(store, submit(store, 2500, key="k"))
        clock.advance(99.999)
        assert store.forget_batches() == []
        assert store.batch(batch.id).counts.cancelled == 2500

        clock.advance(0.001)

        assert store.forget_batches() == [batch.id]
        assert (store.batches(), store.jobs(batch.id), store.forget_batches()) == ([], [], [])
        for call in (store.batch, store.pause_batch, store.cancel_batch, store.retry_batch):
            with pytest.raises(NotFound):
                call(batch.id)
        for job_call in (store.job, store.cancel_job, store.retry_job):
            with pytest.raises(NotFound):
                job_call(f"{batch.id}-000001")
        assert submit(store, key="k").id != batch.id

    def test_batches_are_forgotten_in_order_of_their_end(self, store: Store, clock: FakeMs) -> None:
        batches = [submit(store) for _ in range(7)]
        for batch in reversed(batches):
            conclude(store, batch)
            clock.advance(1)
        clock.advance(100)

        first, rest = store.forget_batches(), store.forget_batches()

        assert first + rest == [b.id for b in reversed(batches)]
        assert store.forget_batches() == []

    def test_batch_is_kept_while_it_is_open_or_its_manifest_is_due(self, store: Store, clock: FakeMs) -> None:
        due, retried = submit(store), conclude(store, submit(store))
        store.cancel_batch(due.id)
        store.retry_batch(retried.id, states=[JobState.CANCELLED])
        clock.advance(1000)

        assert store.forget_batches() == []
        assert counts(store, retried) == {"queued": 1}
        conclude(store, retried)
        conclude(store, due)
        assert store.forget_batches() == [due.id], "the retried one has a new end"
        clock.advance(100)
        assert store.forget_batches() == [retried.id]

    def test_retention_of_nought_keeps_for_ever(self, patient_store: Store, clock: FakeMs) -> None:
        batch = conclude(patient_store, submit(patient_store))
        clock.advance(10**9)

        assert patient_store.forget_batches() == []
        assert patient_store.batch(batch.id).counts.cancelled == 1

    def test_queues_forget_models_that_nobody_wants_any_more(self, store: Store, clock: FakeMs) -> None:
        conclude(store, submit(store, requests=[request(model="x")]))
        kept = submit(store, 2, priority=3)
        claim_all(store, dispatch(store))
        clock.advance(99)
        store.forget_batches()
        assert [q.model for q in store.queues()] == ["m", "x"]

        clock.advance(1)
        store.forget_batches()

        assert [(q.model, q.running) for q in store.queues()] == [("m", 2)]
        store.take_back()
        assert counts(store, kept) == {"queued": 2}
        assert len(dispatch(store)) == 2

    def test_owner_that_waits_keeps_what_it_paid(self, store: Store, clock: FakeMs) -> None:
        big = submit(store, 200, owner="ann")
        served: list[str] = []
        for _ in range(40):
            submit(store, 1, owner="ben")
            store.renew(worker(slots=10_000), [])
            served += [d.job_id for d in store.dispatch(limit=1)]
            clock.advance(101)
            store.forget_batches()

        assert sum(job_id.startswith(big.id) for job_id in served) == pytest.approx(20, abs=2)


def conclude(store: Store, batch: Batch) -> Batch:
    """Bring a batch to its end and write its manifest."""
    store.cancel_batch(batch.id)
    ended = store.batch(batch.id)
    store.note_manifest(batch.id, ended.finished_ms)
    return ended
