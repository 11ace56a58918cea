"""Which devices this machine offers, found without importing torch: the supervisor stays small and quick.

Every GPU, and every instance that a GPU is divided into (MIG), gets a process of its own that sees nothing else: CUDA
shows a process one instance at most, and numbers GPUs in another order than nvidia-smi. There it is cuda:0; the farm's
pages call it by its number on this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sigmafarm_common.config import Config

#: Seconds that nvidia-smi may take; its first call on a machine wakes the driver.
NVIDIA_SMI_TIMEOUT_S = 30
#: What tells CUDA which GPUs it may use: numbers or UUIDs.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: What tells torch's allocator how to work, by its name and by an older one.
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


class WorkerDevice(NamedTuple):
    """What one worker process draws on."""

    #: What the farm's pages and logs call it.
    label: str
    #: What the process calls it.
    device: str
    #: What CUDA is to show the process, as CUDA_VISIBLE_DEVICES; None: whatever it shows.
    visible: str | None = None

    def environ(self) -> dict[str, str]:
        """Return the variables of the process. On a GPU, torch's allocator grows its segments in place, so that sizes
        which come and go leave no holes, unless somebody has told it otherwise."""
        visible = {} if self.visible is None else {VISIBLE: self.visible}
        if self.device == "cpu" or any(name in os.environ for name in ALLOCATOR):
            return visible
        return {**visible, ALLOCATOR[0]: "expandable_segments:True"}


CPU = WorkerDevice("cpu", "cpu")


def worker_devices(config: Config) -> list[WorkerDevice]:
    """Return the devices to start workers on: the one that the settings name, else every visible GPU, else the CPU."""
    if config.device not in ("auto", "cuda"):
        return [WorkerDevice(config.device, config.device)]
    gpus = [
        WorkerDevice(f"cuda:{n}", "cuda:0", name)
        for n, name in enumerate(visible_gpus(listed_gpus(), os.environ.get(VISIBLE)))
    ]
    return gpus or [WorkerDevice("cuda:0", "cuda:0") if config.device == "cuda" else CPU]


def visible_gpus(listed: Mapping[str, Sequence[str]], said: str | None) -> list[str]:
    """Return the names of what CUDA would show a process each: all GPUs that are listed, by UUID, or those that
    CUDA_VISIBLE_DEVICES names, up to the first that does not exist, as CUDA reads it.

    `listed` has the instances of each GPU by its UUID; a GPU that is divided is not offered beside its instances.
    """
    everything = [name for gpu, instances in listed.items() for name in (instances or [gpu])]
    if said is None:
        return everything
    shown: list[str] = []
    for name in (each.strip() for each in said.split(",")):
        is_there = int(name) < len(listed) if name.isdecimal() else _is_of(name, [*listed, *everything])
        if not is_there or name in shown:
            break
        shown.append(name)
    return shown


def _is_of(name: str, uuids: Sequence[str]) -> bool:
    """Whether a UUID, or the beginning of one, is among some."""
    return len(name) > len("GPU-") and any(uuid.startswith(name) for uuid in uuids)


def listed_gpus() -> dict[str, list[str]]:
    """Return the UUIDs of the GPUs that nvidia-smi lists, and of the MIG instances of each; empty without it."""
    if shutil.which("nvidia-smi") is None:
        return {}
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    gpus: dict[str, list[str]] = {}
    for line in listing.stdout.splitlines():
        found = re.match(r"\s*(GPU|MIG) .*UUID: (\S+?)\)", line)
        if found is None:
            continue
        kind, uuid = found.groups()
        if kind == "GPU":
            gpus[uuid] = []
        elif gpus:
            gpus[list(gpus)[-1]].append(uuid)
    return gpus
