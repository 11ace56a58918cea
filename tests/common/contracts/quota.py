"""What an owner may have open is decided where it is counted: no two submits can pass it together."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import QuotaExceeded
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from tests.common.store_contract import FakeMs, claim_all, counts, dispatch, request, submit

LONG = "a very long prompt, " * 500


def begin(store: Store, num_jobs: int, *, key: str | None = None, owner: str = "ann") -> str:
    ticket = store.begin_batch(name="x", owner=owner, priority=0, defaults={}, idempotency_key=key)
    assert ticket.is_new
    store.add_rows(ticket.batch_id, [request()] * num_jobs)
    return ticket.batch_id


def repeated(num: int, prompt: str = LONG) -> list[RenderRequest]:
    return [request(prompt).model_copy(update={"seed": seed}) for seed in range(num)]


class QuotaContract:
    def test_seal_that_would_pass_the_jobs_of_an_owner_is_refused_and_leaves_nothing(self, store: Store) -> None:
        first, second = begin(store, 3), begin(store, 3, key="k")
        store.seal_batch(first, max_open_jobs=5)

        with pytest.raises(
            QuotaExceeded, match="owner ann has 3 open jobs, and may have 5: 3 more are too many"
        ) as said:
            store.seal_batch(second, max_open_jobs=5)
        store.discard_batch(second)

        assert (said.value.http_status, said.value.retry_after_s > 0, store.open_jobs("ann")) == (429, True, 3)
        assert [b.id for b in store.batches()] == [first]
        assert len(dispatch(store)) == 3
        assert begin(store, 2, key="k") != second, "the key is free again"
        store.seal_batch(begin(store, 5, owner="ben"), max_open_jobs=5)

    def test_what_is_sealed_already_is_never_refused(self, store: Store) -> None:
        batch_id = begin(store, 3)
        store.seal_batch(batch_id, max_open_jobs=3)

        assert store.seal_batch(batch_id, max_open_jobs=3).counts.queued == 3

    def test_retries_count_as_new_jobs(self, store: Store) -> None:
        batch = submit(store, 3)
        store.cancel_batch(batch.id)
        submit(store, 3)

        with pytest.raises(QuotaExceeded, match="has 3 open jobs, and may have 5"):
            store.retry_batch(batch.id, states=[JobState.CANCELLED], max_open_jobs=5)
        assert counts(store, batch) == {"cancelled": 3}
        store.retry_job(f"{batch.id}-000000", max_open_jobs=4)
        with pytest.raises(QuotaExceeded):
            store.retry_job(f"{batch.id}-000001", max_open_jobs=4)
        assert counts(store, batch) == {"cancelled": 2, "queued": 1}

    def test_rows_that_would_pass_the_bytes_of_an_owner_are_refused(self, store: Store) -> None:
        ticket = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(ticket.batch_id, [request(LONG)], max_open_bytes=15_000)

        with pytest.raises(QuotaExceeded, match=r"of owner ann have 10[0-9]{3} bytes .* and may have 15000"):
            store.add_rows(ticket.batch_id, [request(LONG + "x")], max_open_bytes=15_000)

        store.discard_batch(ticket.batch_id)
        submit_bytes(store, [request(LONG)], 15_000)

    def test_text_that_rows_share_counts_once(self, store: Store) -> None:
        submit_bytes(store, repeated(500), 60_000)

        with pytest.raises(QuotaExceeded):
            submit_bytes(store, [request(LONG + str(n)) for n in range(6)], 60_000, owner="ben")

    def test_bytes_are_free_again_when_a_batch_is_over_and_count_again_when_it_is_retried(self, store: Store) -> None:
        first = submit_bytes(store, [request(LONG)], 15_000)
        with pytest.raises(QuotaExceeded):
            submit_bytes(store, [request(LONG + "x")], 15_000)
        store.cancel_batch(first)
        second = submit_bytes(store, [request(LONG + "x")], 15_000)
        store.cancel_batch(second)

        store.retry_batch(first, states=[JobState.CANCELLED])

        with pytest.raises(QuotaExceeded):
            submit_bytes(store, [request(LONG + "y")], 15_000)

    def test_rows_of_a_submit_that_died_do_not_stand_in_the_way_of_the_next_with_its_key(
        self, store: Store, clock: FakeMs
    ) -> None:
        said = {"name": "x", "owner": "ann", "priority": 0, "defaults": {}, "idempotency_key": "k"}
        dead = store.begin_batch(**said)
        store.add_rows(dead.batch_id, [request(LONG)], max_open_bytes=15_000)
        clock.advance(61)

        alive = store.begin_batch(**said)
        store.add_rows(alive.batch_id, [request(LONG)], max_open_bytes=15_000)
        for batch_id in store.stale_batches():  # as the keeper does, sooner or later
            store.discard_batch(batch_id)

        with pytest.raises(QuotaExceeded, match=r"of owner ann have 10[0-9]{3} bytes"):
            store.add_rows(alive.batch_id, [request(LONG + "x")], max_open_bytes=15_000)
        store.seal_batch(alive.batch_id)

    def test_rows_that_share_texts_read_and_draw_as_they_were_submitted(self, store: Store, clock: FakeMs) -> None:
        odd = 'a "quoted" {prompt}, with\n lines, \u00e9 and \u2028 } 9f { ' * 3
        rows = [*repeated(3), *repeated(2, odd), request("short"), request(""), request("a" * 60)]

        batch = submit(store, requests=rows)

        assert [job.request for job in store.jobs(batch.id)] == rows
        claims = claim_all(store, dispatch(store, slots=10))
        assert [claim.request for claim in claims] == rows


def submit_bytes(store: Store, rows: list[RenderRequest], limit: int, *, owner: str = "ann") -> str:
    """Submit as a program does: what is refused is discarded."""
    ticket = store.begin_batch(name="x", owner=owner, priority=0, defaults={})
    try:
        store.add_rows(ticket.batch_id, rows, max_open_bytes=limit)
    except QuotaExceeded:
        store.discard_batch(ticket.batch_id)
        raise
    return store.seal_batch(ticket.batch_id).id
