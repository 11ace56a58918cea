"""What every line of a benchmark says of itself: the commit, the machine, its load, the versions; and where it goes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def put_down(found: Mapping[str, Any], out: Path | None) -> None:
    """Print what was found as a line of JSON, and append it to a file of results where one is named."""
    line = json.dumps(found)
    print(line)
    if out:
        with out.open("a") as file:
            file.write(line + "\n")


def about(*packages: str, device: str = "cpu") -> dict[str, Any]:
    """Return the date, commit, device, cores, load and versions of a run."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "device": device_name(device),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }


def commit() -> str:
    """Return the commit, with `-dirty` where files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return found.stdout.strip() or "unknown"


def device_name(device: str) -> str:
    """Return the GPU's name, or how many CPUs there are."""
    if not device.startswith("cuda"):
        return f"{os.cpu_count()} CPUs"
    import torch

    return torch.cuda.get_device_name(device)
