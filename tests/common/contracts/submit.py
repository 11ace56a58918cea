"""How a batch comes in: opened, filled, sealed; keys; what is read of it."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import Conflict, NotFound, RecordsLost, SubmitInProgress
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from tests.common.store_contract import FakeMs, counts, dispatch, request, submit


def discard_the_dead(store: Store) -> None:
    """What the keeper does with them."""
    for batch_id in store.stale_batches():
        store.discard_batch(batch_id)


class SubmitContract:
    def test_sealed_batch_lists_its_jobs_in_row_order_with_their_requests(self, store: Store) -> None:
        batch = submit(store, 1200)

        jobs = store.jobs(batch.id, limit=2000)

        assert [j.row for j in jobs] == list(range(1200))
        assert jobs[7].request.prompt == "prompt 7"
        assert jobs[7].state is JobState.QUEUED
        assert jobs[7].num_steps == 10
        assert counts(store, batch) == {"queued": 1200}

    def test_open_batch_is_neither_seen_nor_dispatched(self, store: Store) -> None:
        ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(ticket.batch_id, [request()])

        assert store.batches() == []
        assert dispatch(store) == []
        with pytest.raises(NotFound):
            store.batch(ticket.batch_id)
        with pytest.raises(NotFound):
            store.job(f"{ticket.batch_id}-000000")
        with pytest.raises(NotFound):
            store.cancel_batch(ticket.batch_id)

    def test_discarded_batch_is_gone_and_takes_no_rows(self, store: Store) -> None:
        ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(ticket.batch_id, [request()] * 1500)

        store.discard_batch(ticket.batch_id)

        with pytest.raises(
            Conflict, match="wrote nothing for SIGMAFARM_SUBMIT_STALE_S and was discarded; submit it again"
        ):
            store.add_rows(ticket.batch_id, [request()])
        with pytest.raises(NotFound):
            store.seal_batch(ticket.batch_id)

    def test_batch_that_lacks_rows_which_were_written_is_not_accepted(self, store: Store) -> None:
        ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(ticket.batch_id, [request()] * 2)

        with pytest.raises(RecordsLost, match=r"has 2 of the 3 rows that were written to it.*submit it again"):
            store.seal_batch(ticket.batch_id, num_rows=3)
        assert store.batches() == []

        assert store.seal_batch(ticket.batch_id, num_rows=2).counts.queued == 2
        assert store.seal_batch(ticket.batch_id, num_rows=2).counts.queued == 2

    def test_sealed_batch_cannot_be_discarded(self, store: Store) -> None:
        batch = submit(store)

        with pytest.raises(Conflict):
            store.discard_batch(batch.id)

        assert counts(store, batch) == {"queued": 1}

    def test_same_idempotency_key_gives_the_same_batch(self, store: Store) -> None:
        batch = submit(store, key="k")

        again = store.begin_batch(name="y", owner="ann", priority=0, defaults={}, idempotency_key="k")

        assert (again.batch_id, again.is_new) == (batch.id, False)
        assert len(store.batches()) == 1

    def test_idempotency_keys_of_two_owners_do_not_meet(self, store: Store) -> None:
        batch = submit(store, key="k")

        assert submit(store, key="k", owner="ben").id != batch.id

    def test_an_owner_cannot_name_anothers_idempotency_key(self, store: Store) -> None:
        batch = submit(store, owner="ann", key="x:k")

        assert submit(store, owner="ann:x", key="k").id != batch.id

    def test_second_submit_with_a_key_waits_for_the_first(self, store: Store) -> None:
        store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")

        with pytest.raises(SubmitInProgress):
            store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")

    def test_key_of_a_dead_submit_is_free_again(self, store: Store, clock: FakeMs) -> None:
        dead = store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")
        store.add_rows(dead.batch_id, [request()])
        clock.advance(61)

        alive = store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")

        assert alive.is_new
        assert alive.batch_id != dead.batch_id
        with pytest.raises(Conflict, match="submit it again"):
            store.add_rows(dead.batch_id, [request()])
        discard_the_dead(store)
        store.add_rows(alive.batch_id, [request()])
        assert store.seal_batch(alive.batch_id).id == alive.batch_id
        again = store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")
        assert (again.batch_id, again.is_new) == (alive.batch_id, False)

    def test_key_of_a_discarded_batch_is_free_at_once(self, store: Store) -> None:
        first = store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")
        store.discard_batch(first.batch_id)

        assert store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k").is_new

    def test_open_batch_whose_submitter_died_is_stale_and_is_discarded_whole(self, store: Store, clock: FakeMs) -> None:
        ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(ticket.batch_id, [request()])
        assert store.stale_batches() == []
        clock.advance(61)

        assert store.stale_batches() == [ticket.batch_id]
        discard_the_dead(store)

        assert store.stale_batches() == []
        with pytest.raises(NotFound):
            store.seal_batch(ticket.batch_id)

    def test_batch_without_jobs_is_finished_from_the_start(self, store: Store) -> None:
        ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})

        batch = store.seal_batch(ticket.batch_id)

        assert batch.finished_ms > 0
        assert store.finished_batches() == [batch.id]
        assert [e.kind for e in store.events(after="0")] == ["batch.submitted", "batch.finished"]

    def test_sealing_twice_seals_once(self, store: Store) -> None:
        batch = submit(store, 2)

        assert store.seal_batch(batch.id).counts.queued == 2
        assert len(dispatch(store)) == 2

    def test_batches_come_newest_first_in_pages_and_by_owner(self, store: Store, clock: FakeMs) -> None:
        ids = []
        for n in range(5):
            clock.advance(1)
            ids.append(submit(store, owner="ann" if n % 2 else "ben").id)

        first = store.batches(limit=2)
        rest = store.batches(limit=10, before=first[-1].id)

        assert [b.id for b in first + rest] == ids[::-1]
        assert [b.id for b in store.batches(owner="ann")] == [ids[3], ids[1]]
