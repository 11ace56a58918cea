"""What is answered to those who watch: revisions, pace, totals, failures."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import pytest

from sigmafarm_common.job_warnings import MAX_WARNING_CHARS, MAX_WARNINGS, JobWarning
from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.records import ModelCard
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import BOUNDS_MS, PACE_ENTRIES, PACE_S, Beat, Claim, Output
from tests.common.store_contract import FakeMs, claim_all, dispatch, output, request, run_one, submit, worker


def drawn(store: Store, num_jobs: int, **about: object) -> list[Claim]:
    """Submit jobs and bring each to its picture."""
    submit(store, num_jobs, **about)  # type: ignore[arg-type]
    claims = claim_all(store, dispatch(store, slots=num_jobs))
    assert all(store.finish(c.job_id, c.fence, output(c)) for c in claims)
    return claims


class WatchContract:
    # -- revisions, open work, failures

    def test_every_change_of_a_batch_or_its_jobs_gives_it_a_new_revision(self, store: Store) -> None:
        batch = submit(store, 2)
        seen = [store.batch(batch.id).revision]

        def note() -> None:
            seen.append(store.batch(batch.id).revision)

        claim = claim_all(store, dispatch(store, slots=2)[:1])[0]
        note()
        store.renew(worker(), [Beat(claim.job_id, claim.fence, 3, True)])
        note()
        store.set_priority(batch.id, 4)
        note()
        store.pause_batch(batch.id)
        note()
        store.resume_batch(batch.id)
        note()
        store.finish(claim.job_id, claim.fence, output(claim))
        note()
        store.cancel_batch(batch.id)
        note()
        store.retry_batch(batch.id, states=[JobState.CANCELLED])
        note()

        assert seen == sorted(set(seen))

    def test_what_changes_nothing_leaves_the_revision(self, store: Store) -> None:
        batch = submit(store, 2)
        claim = run_one(store, batch)
        before = store.batch(batch.id).revision

        store.renew(worker(), [Beat(claim.job_id, claim.fence, 0, True)])
        store.resume_batch(batch.id)
        store.jobs(batch.id)

        assert store.batch(batch.id).revision == before

    def test_open_work_is_told_by_batch_by_model_and_by_owner(self, store: Store) -> None:
        rows = [request(steps=20), request(steps=10), request(steps=30, model="x")]
        batch = submit(store, requests=rows, owner="ann")
        submit(store, 2, owner="ben")
        megapixels = 64 * 64 / 1e6

        claim = claim_all(store, dispatch(store, slots=1))[0]

        assert store.batch(batch.id).open_cost == pytest.approx(60 * megapixels)
        assert {q.model: q.open_cost for q in store.queues()} == {
            "m": pytest.approx(50 * megapixels),
            "x": pytest.approx(30 * megapixels),
        }
        assert (store.open_jobs("ann"), store.open_jobs("ben"), store.open_jobs("eve")) == (3, 2, 0)
        store.finish(claim.job_id, claim.fence, output(claim))
        store.cancel_job(f"{batch.id}-000002")
        assert store.batch(batch.id).open_cost == pytest.approx(10 * megapixels)
        assert store.open_jobs("ann") == 1
        store.retry_job(f"{batch.id}-000002")
        assert store.batch(batch.id).open_cost == pytest.approx(40 * megapixels)
        assert {q.model: q.open_cost for q in store.queues()}["x"] == pytest.approx(30 * megapixels)

    def test_a_batch_that_is_not_sealed_is_nobodys_work(self, store: Store) -> None:
        ticket = store.begin_batch(name="", owner="ann", priority=0, defaults={})
        store.add_rows(ticket.batch_id, [request()])
        assert store.open_jobs("ann") == 0

        store.discard_batch(ticket.batch_id)

        assert (store.open_jobs("ann"), store.totals()) == (0, {})

    def test_queue_tells_when_its_oldest_waiting_batch_was_submitted(self, store: Store, clock: FakeMs) -> None:
        first = submit(store)
        clock.advance(5)
        # Ids tell which is older, to the millisecond of the machine's clock: chance, where both came in one.
        older, newer = sorted([first, submit(store)], key=lambda batch: batch.id)

        assert [q.oldest_ms for q in store.queues()] == [older.created_ms]
        store.cancel_batch(older.id)
        assert [q.oldest_ms for q in store.queues()] == [newer.created_ms]

    def test_failures_are_counted_by_reason_and_a_retry_takes_them_back(self, store: Store) -> None:
        batch = submit(store, 3)
        for claim, code in zip(claim_all(store, dispatch(store)), ("bad", "bad", "worse"), strict=True):
            store.fail(claim.job_id, claim.fence, code=code, message="no", retryable=False)
        assert store.failures(batch.id) == {"bad": 2, "worse": 1}

        store.retry_job(f"{batch.id}-000000")
        assert store.failures(batch.id) == {"bad": 1, "worse": 1}
        store.retry_batch(batch.id)

        assert store.failures(batch.id) == {}
        assert store.failures("no-batch") == {}

    # -- pace and totals

    def test_pace_tells_pictures_and_work_by_ten_seconds(self, store: Store, clock: FakeMs) -> None:
        drawn(store, 3)
        first = clock.now_ms // (PACE_S * 1000) * PACE_S * 1000
        clock.advance(2 * PACE_S)
        drawn(store, 1)

        pace = store.pace()

        assert [(p.start_ms, p.num_pictures) for p in pace] == [(first, 3), (first + 2 * PACE_S * 1000, 1)]
        assert pace[0].cost == pytest.approx(3 * 10 * 64 * 64 / 1e6)

    def test_pace_counts_the_work_of_what_failed_for_good_and_of_no_other_try(
        self, store: Store, clock: FakeMs
    ) -> None:
        submit(store, 3)
        good, bad, again = claim_all(store, dispatch(store, slots=3))
        store.finish(good.job_id, good.fence, output(good))
        store.fail(bad.job_id, bad.fence, code="bad", message="no", retryable=False)
        store.fail(again.job_id, again.fence, code="bad", message="no", retryable=True)

        (pace,) = store.pace()

        one = store.batch(good.batch_id).open_cost
        assert (pace.num_pictures, pace.cost) == (1, pytest.approx(2 * one))

    def test_pace_of_failures_alone_forgets_what_is_an_hour_old(self, store: Store, clock: FakeMs) -> None:
        for minutes in (0, 30, 90):
            clock.advance(60 * minutes)
            submit(store, 1)
            (claim,) = claim_all(store, dispatch(store))
            store.fail(claim.job_id, claim.fence, code="bad", message="no", retryable=False)

        assert [p.num_pictures for p in store.pace()] == [0]

    def test_pace_forgets_what_is_an_hour_old(self, store: Store, clock: FakeMs) -> None:
        drawn(store, 1)
        clock.advance(PACE_S * PACE_ENTRIES - PACE_S)
        assert len(store.pace()) == 1

        clock.advance(PACE_S)
        assert store.pace() == []
        drawn(store, 2)

        assert [p.num_pictures for p in store.pace()] == [2]

    def test_totals_count_what_became_of_jobs_and_tries(self, store: Store, clock: FakeMs) -> None:
        claims = drawn(store, 2)
        old = claims[0]
        assert store.finish(old.job_id, old.fence, output(old)), "said twice it is accepted twice, and counted once"
        assert not store.finish(old.job_id, old.fence._replace(number=2), output(old))
        batch = submit(store, 5)
        one, two, three, four, _five = claim_all(store, dispatch(store, slots=5))
        store.fail(one.job_id, one.fence, code="e", message="m", retryable=True)
        store.fail(two.job_id, two.fence, code="e", message="m", retryable=False)
        store.release(three.job_id, three.fence)
        store.cancel_job(four.job_id)
        store.release_worker("w1")
        store.retry_job(four.job_id)

        assert store.totals() == {
            "submitted": 7,
            "claimed": 7,
            "succeeded": 2,
            "refused": 1,
            "errors": 2,
            "failed": 1,
            "released": 1,
            "cancelled": 1,
            "lost": 1,
            "retried": 1,
        }
        assert store.batch(batch.id).counts.queued == 4

    def test_calls_that_nobody_claimed_are_counted(self, store: Store, clock: FakeMs) -> None:
        submit(store, 2)
        dispatch(store)
        clock.advance(6)

        store.take_back()

        assert store.totals()["unclaimed"] == 2

    def test_what_became_of_jobs_is_counted_and_timed_by_model_once_however_often_it_is_said(
        self, store: Store, clock: FakeMs
    ) -> None:
        submit(store, requests=[request("a", model="m"), request("b", model="n"), request("c", model="n")])
        store.renew(worker(models=("m", "n")), [])
        clock.advance(2)
        one, two, three = claim_all(store, sorted(d.job_id for d in store.dispatch()))
        clock.advance(3)
        for _ in range(2):
            assert store.finish(one.job_id, one.fence, Output("a/b-f1.png", "a" * 64, 9, 120))
            store.fail(two.job_id, two.fence, code="e", message="m", retryable=False)
        store.cancel_job(three.job_id)

        of_m, of_n = store.measured()

        assert (of_m.model, of_m.states, of_m.errors, of_m.failures) == ("m", {"succeeded": 1}, {}, {})
        assert (of_n.states, of_n.errors, of_n.failures) == ({"cancelled": 1, "failed": 1}, {"e": 1}, {"e": 1})
        assert {n: d.sum_ms for n, d in of_m.durations.items()} == {"wait": 2000, "draw": 2880, "upload": 120}
        assert of_m.durations["wait"].counts == (0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
        assert of_m.durations["draw"].counts.index(1) == bisect_left(BOUNDS_MS["draw"], 2880)
        assert of_n.durations["wait"] == of_m.durations["wait"]
        assert sum(of_n.durations["draw"].counts) == 0, "what failed has no time of a picture"

    def test_job_that_is_tried_again_has_waited_until_its_last_try_and_from_its_owners_retry(
        self, store: Store, clock: FakeMs
    ) -> None:
        claim = run_one(store, submit(store))
        store.fail(claim.job_id, claim.fence, code="e", message="m", retryable=True)
        clock.advance(6)
        store.take_back()
        (again,) = claim_all(store, dispatch(store))
        store.fail(again.job_id, again.fence, code="f", message="m", retryable=False)
        clock.advance(1000)
        store.retry_job(again.job_id)
        clock.advance(1)
        (last,) = claim_all(store, dispatch(store))
        assert store.finish(last.job_id, last.fence, output(last))

        (measured,) = store.measured()

        assert measured.durations["wait"].sum_ms == 6000 + 1000
        assert sum(measured.durations["wait"].counts) == 2
        assert (measured.errors, measured.failures) == ({"e": 1, "f": 1}, {"f": 1})

    def test_batch_keeps_the_trace_of_its_submit(self, store: Store) -> None:
        said = {"name": "", "owner": "ann", "priority": 0, "defaults": {}}
        traced = store.begin_batch(**said, trace="00-1-2-01")  # type: ignore[arg-type]
        untraced = store.begin_batch(**said)  # type: ignore[arg-type]

        found = [store.trace_of(batch) for batch in (traced.batch_id, untraced.batch_id, "no-batch")]

        assert found == ["00-1-2-01", "", ""]

    def test_last_events_come_newest_first(self, store: Store) -> None:
        batch = submit(store)
        store.pause_batch(batch.id)
        store.resume_batch(batch.id)

        assert [e.kind for e in store.last_events(limit=2)] == ["batch.resumed", "batch.paused"]
        assert len(store.last_events()) == 3

    # -- lists by owner

    def test_batches_of_an_owner_are_listed_page_by_page_and_forgotten_with_their_end(
        self, store: Store, clock: FakeMs
    ) -> None:
        made: list[str] = []
        for owner in ("ann", "ben", "ann", "ann"):
            clock.advance(1)
            made.append(submit(store, owner=owner).id)

        page = store.batches(owner="ann", limit=2)
        rest = store.batches(owner="ann", limit=2, before=page[-1].id)

        assert [b.id for b in page + rest] == [made[3], made[2], made[0]]
        store.cancel_batch(made[3])
        store.note_manifest(made[3], store.batch(made[3]).finished_ms)
        clock.advance(101)
        store.forget_batches()
        assert [b.id for b in store.batches(owner="ann")] == [made[2], made[0]]

    def test_job_tells_how_long_its_upload_took(self, store: Store) -> None:
        claim = run_one(store, submit(store))
        assert store.job(claim.job_id).upload_ms == 0

        store.finish(claim.job_id, claim.fence, Output("a/b-f1.png", "a" * 64, 9, 123))

        assert store.job(claim.job_id).upload_ms == 123

    def test_job_tells_what_the_model_that_drew_it_is_made_of(self, store: Store) -> None:
        told = run_one(store, submit(store))
        store.finish(told.job_id, told.fence, Output("a/b-f1.png", "a" * 64, 9, 123, "0f3c9a71d2e4"))
        untold = run_one(store, submit(store))
        store.finish(untold.job_id, untold.fence, output(untold))

        assert store.job(told.job_id).fingerprint == "0f3c9a71d2e4"
        assert store.job(untold.job_id).fingerprint == ""

    def test_a_jobs_warnings_are_told_by_it_and_counted_by_its_batch_once_however_often_they_are_said(
        self, store: Store
    ) -> None:
        batch = submit(store, 3)
        first, second, third = claim_all(store, dispatch(store, slots=3))
        cut, wild = JobWarning(code="prompt_cut", text="2 tokens"), JobWarning(code="wild", text="blotches")
        for claim, warnings in ((first, (cut, wild)), (second, (cut,)), (third, ())):
            told = replace(output(claim), warnings=warnings)
            assert store.finish(claim.job_id, claim.fence, told)
            assert store.finish(claim.job_id, claim.fence, told)

        assert store.job(first.job_id).warnings == (cut, wild)
        assert store.job(third.job_id).warnings == ()
        assert store.batch(batch.id).warnings == {"prompt_cut": 2, "wild": 1}
        told = [e.data.get("warnings") for e in store.events(after="0") if e.kind == "job.succeeded"]
        assert told == ["prompt_cut,wild", "prompt_cut", None]

    def test_a_job_carries_few_and_short_warnings_whatever_its_worker_says(self, store: Store) -> None:
        claim = run_one(store, submit(store))
        many = tuple(JobWarning(code=f"code{n // 2}", text=f"{n} " + "x" * 10_000) for n in range(100))

        store.finish(claim.job_id, claim.fence, replace(output(claim), warnings=many))

        kept = store.job(claim.job_id).warnings
        assert [w.code for w in kept] == [f"code{n}" for n in range(MAX_WARNINGS)]
        assert [w.text[:3] for w in kept[:3]] == ["0 x", "2 x", "4 x"]
        assert max(len(w.text) for w in kept) <= MAX_WARNING_CHARS

    def test_a_worker_tells_what_its_models_are_made_of_and_the_last_card_of_a_name_counts(self, store: Store) -> None:
        store.register_models([ModelCard(name="m", fingerprint="0f3c9a71d2e4")])
        store.register_models([ModelCard(name="m", fingerprint="77ab00000000")])
        store.renew(worker("w1").model_copy(update={"fingerprints": {"m": "0f3c9a71d2e4"}}), [])
        store.renew(worker("w2").model_copy(update={"fingerprints": {"m": "77ab00000000"}}), [])

        (namesakes,) = find_namesakes(store.workers())

        assert [card.fingerprint for card in store.models()] == ["77ab00000000"]
        assert namesakes.workers == {"0f3c9a71d2e4": ("w1",), "77ab00000000": ("w2",)}

    def test_jobs_in_a_workers_hands_are_listed(self, store: Store) -> None:
        submit(store, 3)
        claims = claim_all(store, dispatch(store)[:2])

        assert store.held_jobs("w1") == sorted(c.job_id for c in claims)
        assert store.held_jobs("nobody") == []
