"""The program in this process: what a command printed, and the code that it ended with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sigmafarm import Farm
from sigmafarm.cli import main


@dataclass(frozen=True)
class Ran:
    """What became of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def finding(self, subject: str) -> dict[str, str]:
        """The doctor's line on a subject."""
        (found,) = [f for f in self.json["findings"] if f["subject"] == subject]
        return found


Run = Callable[..., Ran]


def runner(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the program on a farm."""
    monkeypatch.setenv("SIGMAFARM_REDIS_URL", farm.config.redis_url or "")
    monkeypatch.setenv("SIGMAFARM_DATA_DIR", str(farm.config.data_dir))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["sigmafarm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return call
