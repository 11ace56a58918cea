"""GPUs that are there and that PyTorch can never use, with torch's answers injected: no GPU is at hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sigmafarm_common.errors import DeviceUnusable
from sigmafarm_worker.service.usable_device import check_usable, has_code

TOO_OLD = "The NVIDIA driver on your system is too old (found version 12040)."


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What torch is to say of a GPU; an exception under `init` is raised."""
    said: dict[str, Any] = {"init": None, "capability": (9, 0), "codes": ["sm_75", "sm_80", "sm_90", "compute_90"]}

    def init() -> None:
        if said["init"] is not None:
            raise said["init"]

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: said["capability"])
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: said["codes"])
    return said


def test_a_gpu_that_fits_is_no_error(cuda: dict[str, Any]) -> None:
    check_usable("cuda:0")


def test_a_cpu_is_asked_nothing(cuda: dict[str, Any]) -> None:
    cuda["init"] = RuntimeError(TOO_OLD)

    check_usable("cpu")


def test_a_build_without_cuda_is_named_with_its_version_and_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)

    with pytest.raises(DeviceUnusable, match=r"built for the CPU alone.*without CUDA.*DEVICE=cpu"):
        check_usable("cuda:0")


def test_a_driver_that_is_too_old_is_named_with_the_one_that_is_needed(cuda: dict[str, Any]) -> None:
    cuda["init"] = RuntimeError(TOO_OLD)

    with pytest.raises(DeviceUnusable, match=r"found version 12040.*CUDA 13 needs driver 580 or newer"):
        check_usable("cuda:0")


def test_a_gpu_without_code_in_this_build_is_named(cuda: dict[str, Any]) -> None:
    cuda["capability"] = (7, 0)

    with pytest.raises(DeviceUnusable, match="code for sm_75, sm_80, sm_90, compute_90, and the GPU is an sm_70"):
        check_usable("cuda:0")


def test_what_may_pass_is_raised_as_it_came_for_another_try(cuda: dict[str, Any]) -> None:
    cuda["init"] = RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    with pytest.raises(RuntimeError, match="busy"):
        check_usable("cuda:0")


@pytest.mark.parametrize(
    ("capability", "codes", "runs"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((12, 0), ["sm_120"], True),
        ((10, 3), ["sm_100", "gfx942"], True),
        ((7, 0), [], False),
    ],
)
def test_code_runs_on_gpus_of_its_generation_and_intermediate_code_on_later_ones(
    capability: tuple[int, int], codes: list[str], runs: bool
) -> None:
    assert has_code(capability, codes) is runs
