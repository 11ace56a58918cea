"""Equal jobs: one is drawn, and the others of batches that reuse take its picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigmafarm_common.states import JobState, Outcome
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import Claim, Output
from tests.common.store_contract import CONFIG, WEIGHTS, FakeMs, dispatch, output, request, submit, worker


def drawn(store: Store, claim: Claim) -> Output:
    """Finish a job with a picture of the known weights, and return what was said of it."""
    said = replace(output(claim), fingerprint=WEIGHTS)
    assert store.finish(claim.job_id, claim.fence, said)
    return said


def claimed(store: Store, job_id: str, name: str = "w1") -> Claim:
    claim = store.claim(job_id, name)
    assert claim
    return claim


def draw_first(store: Store, **said: object) -> tuple[Claim, Output]:
    """Have a batch of one job drawn."""
    submit(store, **said)  # type: ignore[arg-type]
    claim = claimed(store, dispatch(store)[0])
    return claim, drawn(store, claim)


class ReuseContract:
    def test_job_is_given_the_picture_of_an_equal_one(self, store: Store) -> None:
        first, picture = draw_first(store)
        batch = submit(store, reuse=True)

        claim = claimed(store, dispatch(store)[0])

        assert claim.source is not None
        assert claim.source[:3] == (first.job_id, picture.image_key, picture.sha256)
        assert (claim.source.size_bytes, claim.source.fingerprint) == (picture.size_bytes, WEIGHTS)
        copied = replace(output(claim), fingerprint=WEIGHTS, reused_from=first.job_id)
        assert store.finish(claim.job_id, claim.fence, copied)
        assert store.job(claim.job_id).reused_from == first.job_id
        assert (store.batch(batch.id).reuse, store.batch(batch.id).num_reused) == (True, 1)
        assert store.totals()["reused"] == 1
        assert sum(p.num_pictures for p in store.pace()) == 1, "the pace tells of what was drawn"

    def test_batch_that_does_not_ask_for_it_is_drawn_anew(self, store: Store) -> None:
        draw_first(store)
        batch = submit(store)

        assert claimed(store, dispatch(store)[0]).source is None
        assert not store.batch(batch.id).reuse

    @pytest.mark.parametrize("other", [request(steps=11), request("another"), request(side=72), request(model="x")])
    def test_other_settings_are_another_picture(self, store: Store, other: object) -> None:
        draw_first(store, requests=[request()])
        submit(store, requests=[other], reuse=True)  # type: ignore[list-item]

        assert claimed(store, dispatch(store, models=("m", "x"))[0]).source is None

    def test_labels_change_no_picture(self, store: Store) -> None:
        draw_first(store, requests=[request()])
        submit(store, requests=[request().model_copy(update={"labels": {"a": "b"}})], reuse=True)

        assert claimed(store, dispatch(store)[0]).source is not None

    def test_other_owners_pictures_are_none(self, store: Store) -> None:
        draw_first(store, owner="ben")
        submit(store, owner="ann", reuse=True)

        assert claimed(store, dispatch(store)[0]).source is None

    def test_other_weights_of_the_name_draw_it_anew(self, store: Store) -> None:
        draw_first(store)
        submit(store, reuse=True)
        (job_id,) = dispatch(store)
        store.renew(worker("w2").model_copy(update={"fingerprints": {"m": "other"}}), [])

        assert claimed(store, job_id, "w2").source is None

    def test_equal_jobs_wait_while_one_is_drawn(self, store: Store) -> None:
        submit(store, requests=[request()] * 3, reuse=True)
        first, *others = dispatch(store)
        claim = claimed(store, first)

        assert [store.claim(job_id, "w1") for job_id in others] == [None, None]
        assert dispatch(store) == []
        drawn(store, claim)
        store.take_back()

        again = dispatch(store)
        assert sorted(again) == sorted(others)
        assert {claimed(store, job_id).source[0] for job_id in again} == {first}  # type: ignore[index]

    def test_they_wait_for_one_of_a_batch_that_does_not_reuse(self, store: Store) -> None:
        submit(store)
        claim = claimed(store, dispatch(store)[0])
        submit(store, reuse=True)

        assert store.claim(dispatch(store)[0], "w1") is None
        drawn(store, claim)
        store.take_back()

        assert claimed(store, dispatch(store)[0]).source is not None

    @pytest.mark.parametrize("end", ["cancelled", "failed", "released", "lost", "paused"])
    def test_whatever_becomes_of_it_one_of_them_is_drawn_then(self, store: Store, clock: FakeMs, end: str) -> None:
        batch = submit(store)
        claim = claimed(store, dispatch(store)[0])
        submit(store, requests=[request("prompt 0")] * 2, reuse=True)
        waiting = dispatch(store)
        assert [store.claim(job_id, "w1") for job_id in waiting] == [None, None]

        if end == "cancelled":
            store.cancel_job(claim.job_id)
        elif end == "failed":
            store.fail(claim.job_id, claim.fence, code="oops", message="", retryable=False)
        elif end == "released":
            store.release(claim.job_id, claim.fence)
        elif end == "lost":
            store.release_worker("w1")
        else:
            store.pause_batch(batch.id)
            store.release(claim.job_id, claim.fence, outcome=Outcome.PAUSED)
        store.pause_batch(batch.id)
        store.take_back()
        first, second = dispatch(store)

        assert {first, second} == set(waiting)
        one = claimed(store, first)
        assert one.source is None
        assert store.claim(second, "w1") is None, "and the other waits again"

    def test_one_that_waits_is_queued_and_can_be_cancelled(self, store: Store) -> None:
        submit(store)
        claim = claimed(store, dispatch(store)[0])
        batch = submit(store, reuse=True)
        (job_id,) = dispatch(store)
        store.claim(job_id, "w1")
        assert store.job(job_id).state is JobState.QUEUED

        store.cancel_job(job_id)
        drawn(store, claim)
        store.take_back()

        assert dispatch(store) == []
        assert store.batch(batch.id).counts.cancelled == 1

    def test_it_waits_no_longer_than_a_lease_without_a_word(self, store: Store, clock: FakeMs) -> None:
        submit(store)
        claimed(store, dispatch(store)[0])
        submit(store, reuse=True)
        (job_id,) = dispatch(store)
        assert store.claim(job_id, "w1") is None

        clock.advance(CONFIG.lease_s)
        store.take_back(judge_leases=False)

        assert dispatch(store) == [job_id]

    def test_forgotten_pictures_are_no_source(self, store: Store, clock: FakeMs) -> None:
        first, _ = draw_first(store)
        batch = store.batch(first.batch_id)
        store.note_manifest(batch.id, batch.finished_ms)
        clock.advance(CONFIG.retention_s + 1)
        assert store.forget_batches() == [batch.id]
        submit(store, reuse=True)

        assert claimed(store, dispatch(store)[0]).source is None

    def test_newest_picture_is_the_source(self, store: Store) -> None:
        draw_first(store)
        second, _ = draw_first(store)
        submit(store, reuse=True)

        source = claimed(store, dispatch(store)[0]).source
        assert source
        assert source.job_id == second.job_id
