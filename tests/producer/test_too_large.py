"""A picture for which no worker's device has memory is refused before anybody tries it."""

from __future__ import annotations

from typing import Any

import pytest

from sigmafarm import Farm, InvalidRequest, InvalidRows
from tests.farm_hand import FarmHand


def say(farm: Farm, hand: FarmHand, name: str, **said: Any) -> None:
    farm.store.renew(hand.info.model_copy(update={"id": name, **said}), [])


def test_what_no_worker_has_memory_for_is_refused_with_the_largest_that_fits(farm: Farm, hand: FarmHand) -> None:
    say(farm, hand, "hand", max_pixels={"tiny": 600 * 600})
    say(farm, hand, "larger", max_pixels={"tiny": 1030 * 1030})

    with pytest.raises(InvalidRows) as refused:
        farm.submit([{"prompt": "a boat", "height": 1024, "width": 2048}])

    said = str(refused.value)
    assert "2048 x 1024" in said
    assert "1024 x 1024" in said  # what fits
    assert "start a larger worker" in said
    assert not farm.batches()
    assert farm.submit([{"prompt": "a boat", "height": 1024, "width": 1024}]).counts.queued == 1


def test_one_worker_that_may_have_room_is_enough(farm: Farm, hand: FarmHand) -> None:
    say(farm, hand, "hand", max_pixels={"tiny": 600 * 600})
    say(farm, hand, "unknown", max_pixels={})  # of an older version, or on a CPU

    assert farm.submit([{"prompt": "a boat", "height": 1024, "width": 2048}]).counts.queued == 1


def test_another_models_limit_says_nothing(farm: Farm, hand: FarmHand) -> None:
    say(farm, hand, "hand", max_pixels={"other": 64 * 64})

    assert farm.submit([{"prompt": "a boat", "height": 1024, "width": 2048}]).counts.queued == 1


def test_the_batch_s_own_size_is_refused_too(farm: Farm, hand: FarmHand) -> None:
    say(farm, hand, "hand", max_pixels={"tiny": 600 * 600})

    with pytest.raises((InvalidRows, InvalidRequest), match="too large"):
        farm.submit(["a boat", "a red boat"], defaults={"height": 1024, "width": 1024})
