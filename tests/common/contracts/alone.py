"""A job that was there at two deaths has its worker to itself."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import NotAlone
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import Beat, Claim, losses_to_be_alone
from tests.common.store_contract import CONFIG, FakeMs, claim_all, counts, dispatch, output, run_one, submit, worker


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
