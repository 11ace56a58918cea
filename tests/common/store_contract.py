"""What every store must do. RedisStore and MemoryStore both run this suite (test_store_redis.py, test_store_memory.py).

A subclass gives three fixtures: `clock` (a FakeMs), and `store` and `patient_store`, built with CONFIG and PATIENT and
that clock.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sigmafarm_common.config import Config
from sigmafarm_common.errors import (
    Conflict,
    IllegalTransition,
    InvalidRequest,
    NotAlone,
    NotFound,
    SubmitInProgress,
)
from sigmafarm_common.job import Batch, ModelCard, RenderRequest, WorkerInfo
from sigmafarm_common.states import TRANSITIONS, JobState
from sigmafarm_common.store.protocol import (
    FORGOTTEN_PER_CALL,
    HISTORY_LIMIT,
    Beat,
    Claim,
    Dispatched,
    DropReason,
    Output,
    Store,
    losses_to_be_alone,
)

#: Settings of the suite: round numbers, so that a test's times can be read.
CONFIG = Config(
    lease_s=10, unclaimed_s=5, retry_delay_s=2, max_attempts=3, max_losses=3, submit_stale_s=60, retention_s=100
)
#: The same with tries enough for every limit of the store to show, and a memory without end.
PATIENT = CONFIG.replaced(max_attempts=100, retention_s=0)


class FakeMs:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


def request(prompt: str = "a red circle", *, steps: int = 10, side: int = 64, model: str = "m") -> RenderRequest:
    fields = {"num_inference_steps": steps, "height": side, "width": side, "seed": 1, "model": model}
    return RenderRequest(prompt=prompt, **fields).resolved()


def submit(
    store: Store,
    num_jobs: int = 1,
    *,
    priority: int = 0,
    owner: str = "ann",
    key: str | None = None,
    requests: Iterable[RenderRequest] | None = None,
) -> Batch:
    ticket = store.begin_batch(name="test", owner=owner, priority=priority, defaults={}, idempotency_key=key)
    store.add_rows(ticket.batch_id, list(requests or [request(f"prompt {n}") for n in range(num_jobs)]))
    return store.seal_batch(ticket.batch_id)


def worker(name: str = "w1", *, slots: int = 4, lookahead: int = 0, models: tuple[str, ...] = ("m",)) -> WorkerInfo:
    return WorkerInfo(id=name, models=models, host="h", pid=1, device="cpu", slots=slots, lookahead=lookahead)


def dispatch(store: Store, **settings: object) -> list[str]:
    """Let a worker be known and return the job ids that are dispatched to its free slots."""
    store.renew(worker(**settings), [])  # type: ignore[arg-type]
    return [d.job_id for d in store.dispatch()]


def claim_all(store: Store, job_ids: Iterable[str], name: str = "w1") -> list[Claim]:
    claims = [store.claim(job_id, name) for job_id in job_ids]
    assert all(claims)
    return [c for c in claims if c]


def run_one(store: Store, batch: Batch) -> Claim:
    """Bring the first job of a batch into running and return its claim."""
    (claim,) = claim_all(store, dispatch(store, slots=1)[:1])
    assert claim.batch_id == batch.id
    return claim


def output(claim: Claim) -> Output:
    return Output(f"{claim.batch_id}/{claim.job_id}-f{claim.fence}.png", "a" * 64, 1234)


def counts(store: Store, batch: Batch) -> dict[str, int]:
    """The batch's counts that are not zero, checked against the states of its jobs."""
    said = {k: v for k, v in store.batch(batch.id).counts.model_dump().items() if v}
    seen = {s.value: len(store.jobs(batch.id, state=s, limit=10_000)) for s in JobState}
    assert said == {k: v for k, v in seen.items() if v}
    return said


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

        with pytest.raises(Conflict):
            store.add_rows(ticket.batch_id, [request()])
        with pytest.raises(NotFound):
            store.seal_batch(ticket.batch_id)

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
        with pytest.raises(Conflict):
            store.add_rows(dead.batch_id, [request()])
        store.take_back()
        store.add_rows(alive.batch_id, [request()])
        assert store.seal_batch(alive.batch_id).id == alive.batch_id
        again = store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")
        assert (again.batch_id, again.is_new) == (alive.batch_id, False)

    def test_key_of_a_discarded_batch_is_free_at_once(self, store: Store) -> None:
        first = store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k")
        store.discard_batch(first.batch_id)

        assert store.begin_batch(name="x", owner="ann", priority=0, defaults={}, idempotency_key="k").is_new

    def test_take_back_discards_an_open_batch_whose_submitter_died(self, store: Store, clock: FakeMs) -> None:
        ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(ticket.batch_id, [request()])
        clock.advance(61)

        store.take_back()

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

        assert store.release(claim.job_id, claim.fence)

        assert dispatch(store, slots=1) == [claim.job_id]
        job = store.job(claim.job_id)
        assert (job.attempts, job.losses, job.history[0].outcome) == (0, 0, "released")

    def test_every_move_of_the_table_happens_and_is_announced(self, store: Store) -> None:
        assert {t.script for t in TRANSITIONS} == {
            "claim", "finish", "fail", "release", "take_back", "cancel", "retry"
        }  # fmt: skip

        claim = run_one(store, submit(store))
        store.finish(claim.job_id, claim.fence, output(claim))

        kinds = [e.kind for e in store.events(after="0")]
        assert kinds == ["batch.submitted", "job.running", "job.succeeded", "batch.finished"]


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

        assert new.fence == old.fence + 1
        assert not store.finish(old.job_id, old.fence, output(old))
        assert store.fail(old.job_id, old.fence, code="x", message="x", retryable=True) is None
        assert not store.release(old.job_id, old.fence)
        assert store.renew(worker(), [Beat(old.job_id, old.fence, 5, True)]) == {old.job_id: DropReason.LOST}
        assert store.finish(new.job_id, new.fence, output(new))
        assert counts(store, batch) == {"succeeded": 1}

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

        store.renew(worker(), [Beat(moving.job_id, 1, 4, True), Beat(still.job_id, 1, 0, False)])
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


class AloneContract:
    def test_job_that_was_there_at_two_deaths_waits_until_its_worker_is_empty(
        self, store: Store, clock: FakeMs
    ) -> None:
        poison = lose_twice(store)
        submit(store, 3, priority=2)
        (other, *more, call) = dispatch(store, slots=4)
        assert call == poison
        (neighbour,) = claim_all(store, [other])

        with pytest.raises(NotAlone, match=f"job {poison} was there .* worker w1 holds 1 others"):
            store.claim(call, "w1")

        assert [store.claim(job_id, "w1") for job_id in more] == [None] * len(more)
        assert dispatch(store) == [], "a worker that empties itself has no room"
        store.finish(neighbour.job_id, neighbour.fence, output(neighbour))
        claim = store.claim(call, "w1")
        assert claim is not None
        assert (claim.job_id, claim.losses, claim.is_alone) == (poison, 2, True)

    def test_nothing_joins_a_job_that_runs_alone(self, store: Store) -> None:
        poison = lose_twice(store)
        (claim,) = claim_all(store, dispatch(store))
        assert claim.job_id == poison
        batch = submit(store, 3)
        store.renew(worker("w2", slots=1), [])
        store.renew(worker("w1"), [])

        (call,) = [d.job_id for d in store.dispatch()]

        assert store.claim(call, "w1") is None
        assert dispatch(store, name="w1", slots=4) == [call], "w2 has room for one"
        (neighbour,) = claim_all(store, [call], "w2")
        store.finish(claim.job_id, claim.fence, output(claim))
        claim_all(store, dispatch(store))
        assert counts(store, batch) == {"running": 3}
        assert neighbour.is_alone is False

    def test_jobs_that_run_alone_run_one_after_the_other(self, store: Store) -> None:
        batch = submit(store, 3)
        for _ in range(2):
            claim_all(store, dispatch(store))
            store.release_worker("w1")

        for row in range(3):
            (claim,) = claim_all(store, dispatch(store))
            assert (claim.job_id, store.dispatch()) == (f"{batch.id}-{row:06d}", [])
            store.finish(claim.job_id, claim.fence, output(claim))

        assert counts(store, batch) == {"succeeded": 3}

    def test_worker_that_asks_no_more_for_a_job_that_runs_alone_takes_others(self, store: Store, clock: FakeMs) -> None:
        poison = lose_twice(store)
        batch = submit(store, 3, priority=2)
        other, *_, call = dispatch(store)
        (neighbour,) = claim_all(store, [other])
        with pytest.raises(NotAlone):
            store.claim(call, "w1")
        clock.advance(9)
        store.renew(worker(), [Beat(neighbour.job_id, neighbour.fence, 1, True)])
        store.take_back()
        assert dispatch(store) == []

        clock.advance(1)

        assert poison in dispatch(store)
        assert counts(store, batch)["running"] == 1

    @pytest.mark.parametrize("end", ["cancel_job", "release_worker", "forget_worker"])
    def test_wait_for_a_job_that_runs_alone_ends_with_the_job_and_with_the_worker(self, store: Store, end: str) -> None:
        poison = lose_twice(store)
        submit(store, 3, priority=2)
        other, *_, call = dispatch(store)
        claim_all(store, [other])
        with pytest.raises(NotAlone):
            store.claim(call, "w1")

        getattr(store, end)(poison if end == "cancel_job" else "w1")

        if end == "cancel_job":
            assert store.claim(call, "w1") is None
        submit(store)
        assert dispatch(store, slots=8)

    def test_poison_job_takes_no_neighbour_to_the_limit(self, store: Store) -> None:
        batch = submit(store, 12)
        poison = f"{batch.id}-000005"
        for _ in range(200):
            calls = dispatch(store, slots=4, lookahead=2)
            held = [c for c in (claim_or_none(store, call) for call in calls) if c]
            if any(c.job_id == poison for c in held):
                store.release_worker("w1")
                continue
            for claim in held:
                store.finish(claim.job_id, claim.fence, output(claim))

        jobs = store.jobs(batch.id)
        assert counts(store, batch) == {"succeeded": 11, "failed": 1}
        assert [(j.id, j.error_code) for j in jobs if j.losses >= CONFIG.max_losses] == [(poison, "lost")]

    @pytest.mark.parametrize(("max_losses", "alone_from"), [(1, 1), (2, 1), (3, 2), (9, 2)])
    def test_a_job_runs_alone_before_the_last_death_that_it_may_be_part_of(
        self, max_losses: int, alone_from: int
    ) -> None:
        assert losses_to_be_alone(max_losses) == alone_from


def claim_or_none(store: Store, job_id: str) -> Claim | None:
    """Claim a job as a worker does that asks once."""
    try:
        return store.claim(job_id, "w1")
    except NotAlone:
        return None


def lose_twice(store: Store) -> str:
    """Submit a job, let it be there when its worker dies, twice, and return it, queued."""
    batch = submit(store, priority=1)
    for _ in range(2):
        run_one(store, batch)
        store.release_worker("w1")
    return f"{batch.id}-000000"


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

        assert drop == {claim.job_id: DropReason.PAUSED}
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
        assert drop == {claims[1].job_id: DropReason.CANCELLED}
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
        assert run_one(store, batch).fence == 2

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


class KeeperContract:
    def test_one_keeper_leads_until_it_resigns(self, store: Store) -> None:
        assert store.lead("k1", 30)
        assert store.lead("k1", 30)
        assert not store.lead("k2", 30)

        store.resign("k2")
        assert not store.lead("k2", 30)
        store.resign("k1")
        assert store.lead("k2", 30)

    def test_finished_batch_is_due_until_its_manifest_is_written(self, store: Store) -> None:
        batch = submit(store)
        assert store.finished_batches() == []
        store.cancel_batch(batch.id)
        assert store.finished_batches() == [batch.id]

        store.manifest_written(batch.id, store.batch(batch.id).finished_ms)

        assert store.finished_batches() == []

    def test_manifest_of_an_earlier_end_leaves_the_later_one_due(self, store: Store, clock: FakeMs) -> None:
        batch = submit(store)
        store.cancel_batch(batch.id)
        first_end_ms = store.batch(batch.id).finished_ms
        store.retry_batch(batch.id, states=[JobState.CANCELLED])
        clock.advance(1)
        store.cancel_batch(batch.id)

        store.manifest_written(batch.id, first_end_ms)

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

    def test_batches_are_forgotten_in_order_of_their_end_some_at_a_time(self, store: Store, clock: FakeMs) -> None:
        batches = [submit(store) for _ in range(7)]
        for batch in reversed(batches):
            conclude(store, batch)
            clock.advance(1)
        clock.advance(100)

        first, rest = store.forget_batches(), store.forget_batches()

        assert first + rest == [b.id for b in reversed(batches)]
        assert (len(first), store.forget_batches()) == (FORGOTTEN_PER_CALL, [])

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
    store.manifest_written(batch.id, ended.finished_ms)
    return ended


class StoreContract(
    SubmitContract,
    LifeContract,
    LeaseContract,
    AloneContract,
    SteerContract,
    ShareContract,
    KeeperContract,
    RetentionContract,
):
    """All of it."""
