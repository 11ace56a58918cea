"""What every store must do. RedisStore and MemoryStore both run all of it (test_store_redis.py, test_store_memory.py).

A subclass gives three fixtures: `clock` (a FakeMs), and `store` and `patient_store`, built with CONFIG and PATIENT and
that clock.
"""

from __future__ import annotations

from tests.common.contracts.alone import AloneContract
from tests.common.contracts.keeper import KeeperContract
from tests.common.contracts.lease import LeaseContract
from tests.common.contracts.life import LifeContract
from tests.common.contracts.quota import QuotaContract
from tests.common.contracts.retention import RetentionContract
from tests.common.contracts.share import ShareContract
from tests.common.contracts.steer import SteerContract
from tests.common.contracts.submit import SubmitContract
from tests.common.contracts.watch import WatchContract


class StoreContract(
    SubmitContract,
    LifeContract,
    LeaseContract,
    AloneContract,
    SteerContract,
    ShareContract,
    KeeperContract,
    QuotaContract,
    RetentionContract,
    WatchContract,
):
    """All of it."""
