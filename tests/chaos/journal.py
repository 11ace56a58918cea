"""What the simulated engines did, written down beside the farm: which request, how far it was drawn, how it ended.

One file a process, one line a try. What a killed process had in hand stands nowhere: its files tell of ends only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos.hooks import FOLDER_VARIABLE


@dataclass(frozen=True)
class Entry:
    """One try that ended in an engine."""

    prompt: str
    seed: int
    #: Steps that were done.
    step: int
    #: drawn, or what ended it: the name of an error.
    end: str
    #: The wall clock's seconds.
    at_s: float

    @property
    def is_drawn(self) -> bool:
        return self.end == "drawn"


def note(prompt: str, seed: int | None, step: int, end: str) -> None:
    """Write a try down, if this process belongs to a farm under test."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        line = json.dumps(asdict(Entry(prompt, seed or 0, step, end, time.time())))
        with (Path(folder) / f"journal-{os.getpid()}.jsonl").open("a") as file:
            file.write(line + "\n")


def entries(folder: Path, prompt: str | None = None) -> list[Entry]:
    """Return what the engines of a farm did, in order of time; of one prompt, if it is named."""
    found = sorted(_all(folder), key=lambda entry: entry.at_s)
    return [entry for entry in found if prompt is None or entry.prompt == prompt]


def _all(folder: Path) -> Iterator[Entry]:
    for file in folder.glob("journal-*.jsonl"):
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may be in the middle of being written
                yield Entry(**json.loads(line))
