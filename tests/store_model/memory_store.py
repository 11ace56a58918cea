"""The store in one process's memory: RedisStore's twin, for tests of yours and of our own.

    store = MemoryStore(Config(lease_s=10), now_ms=lambda: clock)

It keeps the whole contract of Store (both run tests/common/contracts/, and tests/common/test_store_model.py
walks them side by side): states, fences, leases, fair sharing, idempotency keys, back-offs, events, manifests. Safe for
threads. Nothing outlives the process, and no other process sees it: it is no store to run a farm on.
"""

from __future__ import annotations

from tests.store_model.memory_leading import MemoryLeading
from tests.store_model.memory_reading import MemoryReading
from tests.store_model.memory_steering import MemorySteering
from tests.store_model.memory_submitting import MemorySubmitting
from tests.store_model.memory_watching import MemoryWatching
from tests.store_model.memory_working import MemoryWorking


class MemoryStore(MemorySubmitting, MemoryReading, MemorySteering, MemoryWorking, MemoryLeading, MemoryWatching):
    """The farm's records in memory. See Store for what each method promises."""
