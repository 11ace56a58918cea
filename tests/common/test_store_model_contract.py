"""The model that RedisStore is compared with keeps the contract itself, as far as it goes."""

from __future__ import annotations

import pytest

from tests.common.contracts import LifeOfJobsContract
from tests.common.store_contract import CONFIG, PATIENT, FakeMs
from tests.store_model.store_model import StoreModel


@pytest.fixture
def clock() -> FakeMs:
    return FakeMs()


@pytest.fixture
def store(clock: FakeMs) -> StoreModel:
    return StoreModel(CONFIG, clock)


@pytest.fixture
def patient_store(clock: FakeMs) -> StoreModel:
    return StoreModel(PATIENT, clock)


class TestStoreModel(LifeOfJobsContract):
    pass


def test_another_keeper_leads_when_the_lease_of_the_first_is_over(store: StoreModel, clock: FakeMs):
    assert store.lead("k1", 30)
    clock.advance(30)

    assert store.lead("k2", 30)
    assert not store.lead("k1", 30)
