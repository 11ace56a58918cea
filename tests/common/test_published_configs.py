"""The config files of published checkpoints, and of those that newer programs save, are sound as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sigmafarm_common.weights.config_rules import wrong_keys

CONFIGS: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("published_configs.json").read_text()
)
PARTS = [(name, part) for name, parts in CONFIGS.items() for part in parts]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_published_config_is_sound(name: str, part: str):
    assert wrong_keys(part, CONFIGS[name][part]) == []


@pytest.mark.parametrize(("name", "part"), [(name, part) for name, part in PARTS if part != "tokenizer"])
def test_every_key_that_is_judged_is_judged_there(name: str, part: str):
    """Each value that has a rule is noticed once it is an object: no rule lets everything pass."""
    config = CONFIGS[name][part]
    judged = [key for key in config if wrong_keys(part, {**config, key: {"no": "value"}})]

    assert len(judged) > len(config) / 3, f"only {judged}"
