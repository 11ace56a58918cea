"""Which devices get a worker each, with a program in nvidia-smi's place that prints what the real one prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigmafarm_common.config import Config
from sigmafarm_worker.service.devices import (
    ALLOCATOR,
    CPU,
    VISIBLE,
    WorkerDevice,
    listed_gpus,
    visible_gpus,
    worker_devices,
)

PLAIN = """\
GPU 0: NVIDIA L4 (UUID: GPU-aaaaaaaa-0000)
GPU 1: NVIDIA L4 (UUID: GPU-bbbbbbbb-0000)
"""
DIVIDED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-cccccccc-0000)
  MIG 3g.40gb     Device  0: (UUID: MIG-11111111-0000)
  MIG 3g.40gb     Device  1: (UUID: MIG-22222222-0000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-dddddddd-0000)
"""
TWO = {"GPU-aaaaaaaa-0000": [], "GPU-bbbbbbbb-0000": []}


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH, and what the program there prints."""
    program, listing = tmp_path / "nvidia-smi", tmp_path / "listing"
    program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && exec cat {listing}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(VISIBLE, raising=False)
    return listing


def test_every_gpu_gets_a_process_that_sees_nothing_else(nvidia_smi: Path) -> None:
    nvidia_smi.write_text(PLAIN)

    assert worker_devices(Config(device="auto")) == [
        WorkerDevice("cuda:0", "cuda:0", "GPU-aaaaaaaa-0000"),
        WorkerDevice("cuda:1", "cuda:0", "GPU-bbbbbbbb-0000"),
    ]


def test_a_divided_gpu_gets_one_an_instance(nvidia_smi: Path) -> None:
    nvidia_smi.write_text(DIVIDED)

    devices = worker_devices(Config(device="cuda"))

    assert [d.environ()[VISIBLE] for d in devices] == [
        "MIG-11111111-0000",
        "MIG-22222222-0000",
        "GPU-dddddddd-0000",
    ]
    assert [d.label for d in devices] == ["cuda:0", "cuda:1", "cuda:2"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (None, list(TWO)),
        ("", []),
        ("-1", []),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("0, 1", ["0", "1"]),
        ("0,7,1", ["0"]),
        ("0,-1,1", ["0"]),
        ("0,0", ["0"]),
        ("GPU-bbbb", ["GPU-bbbb"]),
        ("GPU-bbbbbbbb-0000,GPU-none", ["GPU-bbbbbbbb-0000"]),
        ("GPU-", []),
        ("NoDevFiles", []),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(said: str | None, shown: list[str]) -> None:
    assert visible_gpus(TWO, said) == shown


def test_an_instance_may_be_named() -> None:
    listed = {"GPU-c": ["MIG-11111111-0000", "MIG-22222222-0000"]}

    assert visible_gpus(listed, "MIG-22222222-0000") == ["MIG-22222222-0000"]


def test_without_a_gpu_it_is_the_cpu_unless_one_was_asked_for(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("")

    assert worker_devices(Config(device="auto")) == [WorkerDevice("cpu", "cpu")]
    assert worker_devices(Config(device="cuda")) == [WorkerDevice("cuda:0", "cuda:0")]
    assert worker_devices(Config(device="cuda:3")) == [WorkerDevice("cuda:3", "cuda:3")]


def test_a_driver_that_does_not_answer_shows_no_gpu(nvidia_smi: Path) -> None:
    (nvidia_smi.parent / "nvidia-smi").write_text("#!/bin/sh\necho 'Failed to initialize NVML'; exit 18\n")

    assert listed_gpus() == {}


def test_the_allocator_of_a_gpu_grows_in_place_unless_somebody_has_told_it_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    gpu = WorkerDevice("cuda:0", "cuda:0", "GPU-aaaaaaaa-0000")

    assert gpu.environ() == {VISIBLE: "GPU-aaaaaaaa-0000", ALLOCATOR[0]: "expandable_segments:True"}
    assert CPU.environ() == {}
    monkeypatch.setenv(ALLOCATOR[1], "max_split_size_mb:512")
    assert gpu.environ() == {VISIBLE: "GPU-aaaaaaaa-0000"}
