"""One leader; manifests of finished batches."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import InvalidRequest
from sigmafarm_common.records import ModelCard
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import Dispatched
from tests.common.store_contract import FakeMs, claim_all, dispatch, output, submit, worker


class KeeperContract:
    def test_one_keeper_leads_until_it_resigns(self, store: Store) -> None:
        assert store.lead("k1", 30)
        assert store.lead("k1", 30)
        assert not store.lead("k2", 30)

        store.resign("k2")
        assert not store.lead("k2", 30)
        store.resign("k1")
        assert store.lead("k2", 30)

    def test_bell_rings_once_for_all_that_came_and_for_room_where_a_job_waits(self, store: Store) -> None:
        assert not store.wait_for_bell(0)
        batch = submit(store, 3)
        submit(store)
        assert store.wait_for_bell(0)
        assert not store.wait_for_bell(0), "it was heard"

        first, _ = claim_all(store, dispatch(store, slots=2))
        assert not store.wait_for_bell(0), "nobody came, and nobody left"
        assert store.finish(first.job_id, first.fence, output(first))
        assert store.wait_for_bell(0), "there is room for one who waits"

        store.cancel_batch(batch.id)
        store.wait_for_bell(0)
        store.pause_batch(submit(store).id)
        store.wait_for_bell(0)
        assert not store.wait_for_bell(0), "what is paused is not to be dispatched"
        submit(store)
        store.dispatch()
        assert not store.wait_for_bell(0), "a round has seen to it"

    def test_bell_rings_for_what_may_be_drawn_again(self, store: Store) -> None:
        batch = submit(store)
        store.pause_batch(batch.id)
        store.wait_for_bell(0)
        store.resume_batch(batch.id)
        assert store.wait_for_bell(0)
        (claim,) = claim_all(store, dispatch(store, slots=1))
        assert store.release(claim.job_id, claim.fence)
        assert store.wait_for_bell(0)
        store.cancel_batch(batch.id)
        store.wait_for_bell(0)
        store.retry_batch(batch.id, states=[JobState.CANCELLED])
        assert store.wait_for_bell(0)

    def test_bell_can_be_rung_by_hand(self, store: Store) -> None:
        store.ring_bell()
        assert store.wait_for_bell(0)

    def test_finished_batch_is_due_until_its_manifest_is_written(self, store: Store) -> None:
        batch = submit(store)
        assert store.finished_batches() == []
        store.cancel_batch(batch.id)
        assert store.finished_batches() == [batch.id]

        store.note_manifest(batch.id, store.batch(batch.id).finished_ms)

        assert store.finished_batches() == []

    def test_manifest_of_an_earlier_end_leaves_the_later_one_due(self, store: Store, clock: FakeMs) -> None:
        batch = submit(store)
        store.cancel_batch(batch.id)
        first_end_ms = store.batch(batch.id).finished_ms
        store.retry_batch(batch.id, states=[JobState.CANCELLED])
        clock.advance(1)
        store.cancel_batch(batch.id)

        store.note_manifest(batch.id, first_end_ms)

        assert store.finished_batches() == [batch.id]

    def test_models_are_known_once_registered(self, store: Store) -> None:
        store.register_models([ModelCard(name="b", defaults={"height": 64}), ModelCard(name="a")])
        store.register_models([ModelCard(name="b", defaults={"height": 128})])

        assert [(m.name, dict(m.defaults)) for m in store.models()] == [("a", {}), ("b", {"height": 128})]

    def test_dispatched_says_job_and_model(self, store: Store) -> None:
        batch = submit(store)
        store.renew(worker(), [])

        assert store.dispatch() == [Dispatched(f"{batch.id}-000000", "m")]

    def test_events_can_be_read_on_from_the_last_one(self, store: Store) -> None:
        batch = submit(store)
        (first,) = store.events(after="0")
        store.pause_batch(batch.id)

        (second,) = store.events(after=first.id)

        assert (first.kind, second.kind, second.batch_id) == ("batch.submitted", "batch.paused", batch.id)

    def test_events_behind_a_text_that_is_no_id_are_refused(self, store: Store) -> None:
        with pytest.raises(InvalidRequest, match="after is 'x-1': must be an event's id, 0 or"):
            store.events(after="x-1")
