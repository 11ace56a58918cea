"""MemoryStore keeps the contract too."""

from __future__ import annotations

import threading

import pytest

from tests.common.contracts import StoreContract
from tests.common.store_contract import CONFIG, PATIENT, FakeMs, claim_all, dispatch, submit, worker
from tests.limits import LIMIT_S
from tests.store_model.memory_store import MemoryStore


@pytest.fixture
def clock() -> FakeMs:
    return FakeMs()


@pytest.fixture
def store(clock: FakeMs) -> MemoryStore:
    return MemoryStore(CONFIG, clock)


@pytest.fixture
def patient_store(clock: FakeMs) -> MemoryStore:
    return MemoryStore(PATIENT, clock)


class TestMemoryStore(StoreContract):
    pass


def test_a_reader_that_waits_is_woken_by_the_next_event(store: MemoryStore):
    batch = submit(store)
    (last,) = store.events(after="0")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(e.kind for e in store.events(after=last.id, block_s=2)))
    reader.start()

    store.pause_batch(batch.id)
    reader.join(timeout=LIMIT_S)

    assert got == ["batch.paused"]


def test_a_job_is_claimed_by_one_of_many_threads(store: MemoryStore):
    submit(store, 50)
    jobs = dispatch(store, slots=50)
    claimed: list[str] = []

    def take(name: str) -> None:
        claimed.extend(job_id for job_id in jobs if store.claim(job_id, name))

    threads = [threading.Thread(target=take, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=LIMIT_S)

    assert sorted(claimed) == jobs


def test_another_keeper_leads_when_the_lease_of_the_first_is_over(store: MemoryStore, clock: FakeMs):
    assert store.lead("k1", 30)
    clock.advance(30)

    assert store.lead("k2", 30)
    assert not store.lead("k1", 30)


def test_without_a_clock_it_uses_the_machines(clock: FakeMs):
    store = MemoryStore(CONFIG)

    batch = submit(store)
    claim_all(store, dispatch(store))

    assert batch.created_ms > clock.now_ms
    assert store.renew(worker(), []) == {}
    assert 0 <= store.server_uptime_s() < 60
