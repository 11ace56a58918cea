"""A farm on the run's real Redis, with a folder as its object store."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from sigmafarm import Config, Farm
from tests.farm_hand import FarmHand


@pytest.fixture
def farm(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> Farm:
    return Farm(Config(redis_url=redis_url, data_dir=tmp_path / "data"))


@pytest.fixture
def hand(farm: Farm) -> FarmHand:
    return FarmHand(farm)
