"""The program as a user runs it: `sigmafarm` as processes of their own, told everything by environment variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.limits import LIMIT_S


class Terminal:
    """A working folder and an environment; every command run in it starts there with nothing else."""

    def __init__(self, folder: Path, **variables: object):
        self.folder = folder
        self.environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str, exit_code: int = 0) -> str:
        """Run one command to its end and return what it wrote to stdout. Fails if it ends in another way."""
        done = subprocess.run(
            _command(arguments), cwd=self.folder, env=self.environment, capture_output=True, timeout=LIMIT_S
        )
        assert done.returncode == exit_code, f"sigmafarm {' '.join(arguments)}: {done.stderr.decode()}"
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done.stdout.decode()

    def json(self, *arguments: str, exit_code: int = 0) -> Any:
        """Run one command with --json and return what it said."""
        return json.loads(self.run(*arguments, "--json", exit_code=exit_code))

    def start(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on; what it says lands in a file of this folder."""
        with (self.folder / log).open("ab") as out:
            process = subprocess.Popen(
                _command(arguments), cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )
        self._started.append(process)
        return process

    def close(self) -> None:
        """End whatever still runs: in order, and then at once."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                process.terminate()
        for process in self._started:
            process.wait(timeout=LIMIT_S)


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "sigmafarm.cli", *arguments]
