"""The logs of the farm on one machine: files in its data folder, one a part, kept from growing for ever.

`up` begins each anew and keeps the last ones as `worker.log.1` and so on. A file that grows large while the farm runs
is copied and emptied: its writers append, and never see it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

#: The parts of the farm with their logs in the data folder.
WORKER, API, BROKER = "worker", "api", "broker"
LOG_FILES: Mapping[str, str] = {WORKER: "worker.log", API: "api.log", BROKER: "broker/server.log"}
#: Older files that are kept of each, and the size from which on a new one is begun.
NUM_KEPT, MAX_BYTES = 3, 20 << 20
#: What of the end of a file is read at once.
PIECE_BYTES = 1 << 16


def log_path(data_dir: Path, part: str) -> Path:
    """Return where a part's log is."""
    return data_dir / LOG_FILES[part]


def begin_anew(path: Path) -> None:
    """Move a log aside before its writers open it; the oldest goes. Raises OSError."""
    if path.exists() and path.stat().st_size:
        _move_older(path)
        path.replace(_older(path, 1))


def keep_small(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Copy and empty a log that is too large. Lines that are written meanwhile may be lost. A full disk changes
    nothing."""
    with suppress(OSError):
        if path.stat().st_size > max_bytes:
            _move_older(path)
            shutil.copyfile(path, _older(path, 1))
            with path.open("r+b") as file:
                file.truncate(0)


def last_lines(path: Path, num: int) -> tuple[list[str], int]:
    """Return the last lines of a log, and the place behind them in bytes. A log that is not there has none."""
    try:
        with path.open("rb") as file:
            end = at = file.seek(0, 2)
            data = b""
            while at and data.count(b"\n") <= num:
                at = max(0, at - PIECE_BYTES)
                file.seek(at)
                data = file.read(end - at)
    except OSError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode("utf-8", "replace").splitlines()
    return lines[len(lines) - min(num, len(lines)) :], end - len(data) + len(whole)


def new_lines(path: Path, place: int) -> tuple[list[str], int]:
    """Return the whole lines behind a place, and the place behind them. A log that was begun anew is read from its
    beginning."""
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(place if size >= place else 0)
        start = file.tell()
        data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        return whole.decode("utf-8", "replace").splitlines(), start + len(whole)
    return [], 0


def _move_older(path: Path) -> None:
    for number in range(NUM_KEPT - 1, 0, -1):
        if _older(path, number).exists():
            _older(path, number).replace(_older(path, number + 1))


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
