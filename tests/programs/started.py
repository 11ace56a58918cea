"""What is started, and how its end is awaited."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

#: prctl's number for "orphans below me become my children".
PR_SET_CHILD_SUBREAPER = 36
#: Modules that are forked, with the nursery that has imported what they need.
NURSERIES = {
    "sigmafarm.cli": "farm",
    "tests.chaos.simulated_worker": "farm",
    "sigmafarm_worker": "engine",
    "sigmafarm_worker.models.random_checkpoint": "engine",
    "tests.worker.engine.exiting": "engine",
    "tests.programs.sharer": "tests",
}
#: Commands of `sigmafarm` that start processes themselves: they are left as users have them.
LEFT_ALONE = frozenset({"up"})
#: The one that becomes another program.
BECOMES_A_WORKER = "worker"
#: Where the tests and the package are imported from.
ROOT = Path(__file__).parents[2]

#: Seconds that a nursery may take to end by itself.
END_LIMIT_S = 10.0

Stream = int | IO[Any] | None


class Started:
    """A forked process that this one is the parent of: the part of subprocess.Popen that tests use."""

    def __init__(self, args: Sequence[str], pid: int):
        self.args, self.pid = list(args), pid
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal, or None while it runs."""
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended. Raises subprocess.TimeoutExpired."""
        if (code := self.poll()) is not None:
            return code
        end = os.pidfd_open(self.pid)
        try:
            ended, _, _ = select.select([end], [], [], timeout)
        finally:
            os.close(end)
        if not ended:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, seen from the one that asks it."""

    def __init__(self, asks: socket.socket, process: subprocess.Popen[bytes] | None = None):
        self._socket, self._process, self._lock = asks, process, threading.Lock()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    @classmethod
    def of(cls, kind: str) -> Nursery:
        """Start one that imports what a kind of programs needs."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "tests.programs.nursery", kind, str(theirs.fileno())]
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        own = cls(ours, process)
        atexit.register(own.close)
        return own

    def close(self) -> None:
        """Ask no more: it ends, and what it has forked goes on."""
        self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def fork(
        self,
        args: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        streams: Sequence[int],
        kept: Sequence[int],
    ) -> Started:
        """Have a process forked that runs the module of a command; `streams` are its three, `kept` further descriptors
        under their numbers."""
        said = {"argv": [*args[2:]], "environment": {**environment}, "folder": str(folder), "kept": list(kept)}
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(said).encode()], [*streams, *kept])
            answer = self._socket.recv(100)
        assert answer, "the nursery ended"
        return Started(args, int(answer))


#: Whatever was started.
Process = Started | subprocess.Popen[bytes]


#: This process's nurseries, by kind.
nurseries: dict[str, Nursery] = {}


def nursery(kind: str) -> Nursery:
    """Return this process's nursery of a kind."""
    if kind not in nurseries:
        nurseries[kind] = Nursery.of(kind)
    return nurseries[kind]


def start(
    args: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a command, as subprocess.Popen does; streams are files or None."""
    environment, kind = {**(os.environ if env is None else env)}, _kind_of(args, env)
    if kind is None:
        return subprocess.Popen(
            args, env=environment, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds
        )
    said = enumerate((stdin, stdout, stderr))
    streams = [own if each is None else each if isinstance(each, int) else each.fileno() for own, each in said]
    return nursery(kind).fork(args, environment, cwd or Path.cwd(), streams, pass_fds)


def run(
    args: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with what it wrote; it is killed when its time is over."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(args, env=env, cwd=cwd, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        written = [_content(file) for file in (out, err)]
    return subprocess.CompletedProcess(list(args), code, *written)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _kind_of(args: Sequence[str], environment: Mapping[str, str] | None) -> str | None:
    """Return the kind of nursery that a command can be forked from, None for one that is started as it stands."""
    if list(args[:2]) != [sys.executable, "-m"] or "LD_PRELOAD" in (environment or os.environ):
        return None
    command = args[3] if args[2] == "sigmafarm.cli" and len(args) > 3 else ""
    if command == BECOMES_A_WORKER:
        return NURSERIES["sigmafarm_worker"]
    return None if command in LEFT_ALONE else NURSERIES.get(args[2])
