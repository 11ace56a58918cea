"""Which devices this machine offers, found without importing torch: the supervisor stays small and quick."""

from __future__ import annotations

import os
import shutil
import subprocess

from sigmafarm_common.config import Config

#: Seconds that nvidia-smi may take; its first call on a machine wakes the driver.
NVIDIA_SMI_TIMEOUT_S = 30


def worker_devices(config: Config) -> list[str]:
    """Return the devices to start workers on: the one that the settings name, else every visible GPU, else the CPU."""
    if config.device == "cuda":
        return [f"cuda:{n}" for n in range(num_visible_gpus())] or ["cuda:0"]
    if config.device != "auto":
        return [config.device]
    return [f"cuda:{n}" for n in range(num_visible_gpus())] or ["cpu"]


def num_visible_gpus() -> int:
    """Return how many GPUs CUDA would see: those of nvidia-smi, fewer if CUDA_VISIBLE_DEVICES says so."""
    if shutil.which("nvidia-smi") is None:
        return 0
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    num_gpus = sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return num_gpus
    return min(num_gpus, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))
