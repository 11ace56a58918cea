"""The farm for asyncio: the names of Farm, FarmBatch and FarmJob, to be awaited. Every call runs their code in a thread
(`async_calls.py`)."""

from sigmafarm.aio.batch import AsyncFarmBatch
from sigmafarm.aio.farm import AsyncFarm
from sigmafarm.aio.job import AsyncFarmJob

__all__ = ["AsyncFarm", "AsyncFarmBatch", "AsyncFarmJob"]
