"""The program as a user runs it: `sigmafarm` as processes of their own, told everything by environment variables."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
from pathlib import Path
from typing import Any

from tests import programs
from tests.limits import LIMIT_S


class Terminal:
    """A working folder and an environment; every command run in it starts there with nothing else."""

    def __init__(self, folder: Path, **variables: object):
        self.folder = folder
        # A worker that stands back would wait for all tests that compute beside it.
        said = {"SIGMAFARM_CPU_NICENESS": 0, **variables}
        self.environment = {**os.environ, **{name: str(value) for name, value in said.items()}}
        self._started: list[programs.Process] = []

    def run(self, *arguments: str, exit_code: int = 0) -> str:
        """Run one command to its end and return what it wrote to stdout. Fails if it ends in another way."""
        done = programs.run(_command(arguments), cwd=self.folder, env=self.environment, timeout=LIMIT_S)
        assert done.returncode == exit_code, f"sigmafarm {' '.join(arguments)}: {done.stderr.decode()}"
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done.stdout.decode()

    def screen(self, *arguments: str, until: str = "") -> str:
        """Run one command at a real terminal of 200 columns and return all that the terminal was sent, stderr too; end
        it once it has said something, where that is named."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        environment = {**self.environment, "TERM": "xterm-256color"}
        process = programs.start(
            _command(arguments), cwd=self.folder, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        try:
            seen = _read_terminal(master, until)
        finally:
            if until:
                process.send_signal(signal.SIGINT)
            rest = _read_terminal(master, "")
            process.wait(timeout=LIMIT_S)
            os.close(master)
        return seen + rest

    def json(self, *arguments: str, exit_code: int = 0) -> Any:
        """Run one command with --json and return what it said."""
        return json.loads(self.run(*arguments, "--json", exit_code=exit_code))

    def start(self, *arguments: str, log: str) -> programs.Process:
        """Start a command that goes on; what it says lands in a file of this folder."""
        with (self.folder / log).open("ab") as out:
            process = programs.start(_command(arguments), cwd=self.folder, env=self.environment, stdout=out, stderr=out)
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


def _read_terminal(master: int, until: str) -> str:
    """Read what comes until it has been said, or the other end is closed."""
    seen = b""
    while not until or until not in seen.decode("utf-8", "replace"):
        ready, _, _ = select.select([master], [], [], LIMIT_S)
        assert ready, f"the terminal is silent after: {seen[-2000:]!r}"
        try:
            piece = os.read(master, 65_536)
        except OSError:  # how Linux says that nobody writes any more
            break
        if not piece:
            break
        seen += piece
    return seen.decode("utf-8", "surrogateescape")


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "sigmafarm.cli", *arguments]
