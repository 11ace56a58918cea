"""What a store must do. RedisStore runs all of it (test_store_redis.py); the tests' model of it runs what is about the
life of jobs (test_store_model_contract.py).

A subclass gives three fixtures: `clock` (a FakeMs), and `store` and `patient_store`, built with CONFIG and PATIENT and
that clock.
"""

from __future__ import annotations

from tests.common.contracts.alone import AloneContract
from tests.common.contracts.around import AroundContract
from tests.common.contracts.keeper import KeeperContract
from tests.common.contracts.lease import LeaseContract
from tests.common.contracts.life import LifeContract
from tests.common.contracts.quota import QuotaContract
from tests.common.contracts.retention import RetentionContract
from tests.common.contracts.reuse import ReuseContract
from tests.common.contracts.share import ShareContract
from tests.common.contracts.steer import SteerContract
from tests.common.contracts.submit import SubmitContract
from tests.common.contracts.uploads import UploadContract
from tests.common.contracts.watch import WatchContract


class LifeOfJobsContract(
    SubmitContract,
    LifeContract,
    LeaseContract,
    AloneContract,
    SteerContract,
    ShareContract,
    KeeperContract,
    QuotaContract,
    RetentionContract,
    ReuseContract,
    UploadContract,
    WatchContract,
):
    """What becomes of jobs: what the model knows too."""


class StoreContract(LifeOfJobsContract, AroundContract):
    """All of it."""
