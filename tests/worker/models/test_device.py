"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from sigmafarm_worker.models.model import with_index


@pytest.mark.parametrize(
    ("said", "meant"), [("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:3", "cuda:3"), ("cpu", "cpu"), ("mps", "mps")]
)
def test_a_gpu_has_a_number_also_where_none_was_said(said: str, meant: str) -> None:
    assert with_index(said) == with_index(torch.device(said)) == torch.device(meant)
