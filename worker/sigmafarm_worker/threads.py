"""Bounds torch's threads, so that several engines on one machine, and the farm's other threads, do not fight."""

from __future__ import annotations

import os

import torch

#: Threads of a process whose device is a GPU: its host work is small.
NUM_THREADS_BESIDE_A_GPU = 2


def bound_threads(device: torch.device | str, num_processes: int = 1) -> int:
    """Give this process its share of the CPUs that it may use, and return how many threads that is.

    `num_processes` is the number of engines on the machine. Call once, before the first tensor is made.
    """
    num_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, num_cpus // num_processes)
    num_threads = share if torch.device(device).type == "cpu" else min(share, NUM_THREADS_BESIDE_A_GPU)
    torch.set_num_threads(num_threads)
    return num_threads
