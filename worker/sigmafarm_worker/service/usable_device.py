"""Whether this PyTorch can use a GPU that is there, before anything is loaded onto it.

What no other try mends (a build without CUDA, a driver that is too old, a GPU that the build has no code for) is told
apart from what may pass (a GPU that is busy, or being reset).
"""

from __future__ import annotations

import subprocess

import torch

from sigmafarm_common.errors import DeviceUnusable
from sigmafarm_worker.service.devices import NVIDIA_SMI_TIMEOUT_S
from sigmafarm_worker.telling import first_line

#: The oldest driver for each major version of CUDA (NVIDIA's CUDA compatibility guide).
OLDEST_DRIVERS = {"11": "450", "12": "525", "13": "580"}
CURE = "or draw on the CPU (SIGMAFARM_DEVICE=cpu)"


def check_usable(device: str) -> None:
    """Raise DeviceUnusable with versions and cure if a GPU can never be used by this process; and what torch raises if
    it cannot be used now."""
    if torch.device(device).type != "cuda":
        return
    if torch.version.cuda is None and torch.version.hip is None:
        raise _unusable(device, "it was built without CUDA", "install a build of PyTorch with CUDA")
    try:
        torch.cuda.init()
    except RuntimeError as error:
        if "driver" not in str(error).lower():
            raise
        major = (torch.version.cuda or "").partition(".")[0]
        needed = f"{OLDEST_DRIVERS[major]} or newer" if major in OLDEST_DRIVERS else "a newer one"
        cure = f"CUDA {major} needs driver {needed}: install it, or a build of PyTorch for an older CUDA"
        raise _unusable(device, first_line(error), cure) from error
    capability, codes = torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()
    if torch.version.hip is None and not has_code(capability, codes):
        why = f"it has code for {', '.join(codes)}, and the GPU is an sm_{capability[0]}{capability[1]}"
        raise _unusable(device, why, "install a build of PyTorch for this GPU")


def has_code(capability: tuple[int, int], codes: list[str]) -> bool:
    """Whether a build with these codes (sm_80, sm_90a, compute_90) runs on a GPU of this compute capability: one of the
    same generation and not newer, or an intermediate one that the driver translates."""
    for code in codes:
        kind, _, said = code.partition("_")
        number = said.rstrip("af")
        if not number.isdecimal():
            continue
        major, minor = int(number[:-1]), int(number[-1])
        if said != number and (major, minor) != capability:  # sm_90a runs on 9.0 alone
            continue
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return False


def _unusable(device: str, why: str, cure: str) -> DeviceUnusable:
    built_for = torch.version.cuda or torch.version.hip or "the CPU alone"
    return DeviceUnusable(
        f"{device} is there, and PyTorch {torch.__version__} (built for {built_for}; the driver is "
        f"{_driver() or 'unknown'}) cannot use it: {why}; {cure}, {CURE}"
    )


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0]
