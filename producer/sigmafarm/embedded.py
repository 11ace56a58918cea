"""The broker of a farm on one machine: a real Redis-protocol server that we start, on a socket in the data folder.

Nothing listens on the network: the socket's folder is the user's own (0700). What was accepted is in an append-only
file, fsynced every second, so a farm that is stopped, or killed, resumes where it was. One farm a data folder: the lock
is the kernel's, so that a dead farm never blocks the next.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import quote

from sigmafarm.broker_server import choose_server, note_writer, why_it_failed, writer_of
from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import BROKER_URL_FILE
from sigmafarm_common.errors import Conflict, InvalidSettings, StorageUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from redis import Redis  # at run time it is imported where it is used: it takes a tenth of a second

#: The longest path of a Unix socket that every system takes, in bytes.
MAX_SOCKET_PATH_BYTES = 100
#: Longest waits for the server to answer (it may have a long file to read) and to end.
START_LIMIT_S, STOP_LIMIT_S = 60.0, 20.0
#: Pause between two looks at a server that starts.
LOOK_S = 0.02
#: prctl's number for "signal me when my parent dies".
PR_SET_PDEATHSIG = 1


class FarmLock:
    """One farm a data folder, as long as this process lives."""

    def __init__(self, data_dir: Path, clock: Clock | None = None):
        self._data_dir, self._clock = data_dir, clock or SystemClock()
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the folder, making it if need be. Raises Conflict, naming the process that has it."""
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = (self._data_dir / "farm.lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise InvalidSettings(
                f"SIGMAFARM_DATA_DIR is {self._data_dir}: {error.strerror}; name a folder that this user may write to"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            pid = self._file.read().strip() or "unknown"
            self.release()
            raise Conflict(
                f"a farm already runs in {self._data_dir} (process {pid}): ask it with `sigmafarm status`, stop it, or "
                "name another folder with --data-dir"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Give the folder free. May be called again."""
        if self._file is not None:
            self._file.close()
            self._file = None


class EmbeddedBroker:
    """The server and its socket. Hold the folder's FarmLock while it runs."""

    def __init__(self, data_dir: Path, clock: Clock | None = None):
        # The server goes into its folder: what is relative would mean something else there.
        self._data_dir, self._clock = data_dir.absolute(), clock or SystemClock()
        self._folder = self._data_dir / "broker"
        self._socket = self._folder / "redis.sock"
        self._socket_home: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, for SIGMAFARM_REDIS_URL."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The server's process, None while it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> str:
        """Start the server, wait until it has read its data, leave its URL in the data folder, and return it.

        Raises StoreUnavailable if no server here can read the data, or with the server's own last words if it does not
        come up.
        """
        from redis.exceptions import RedisError

        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)
        server, writer = choose_server(self._folder), writer_of(self._folder)
        self._choose_socket()
        self._end_leftover()
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [server.binary, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: the server ends after its clients
                preexec_fn=end_with_parent,
            )
        try:
            self._wait_until_ready()
        except RedisError as error:
            self.stop()
            why = why_it_failed(self._folder, server, writer, self._last_words() or str(error))
            raise StoreUnavailable(f"{why}; see {self._folder / 'server.log'}") from None
        try:
            note_writer(self._folder, server)
            self._tell_url()
        except OSError as error:
            self.stop()
            raise StorageUnavailable(f"{self._data_dir} cannot be written: {error.strerror}; free its disk") from None
        return self.url

    def _tell_url(self) -> None:
        url_file = self._data_dir / BROKER_URL_FILE
        url_file.write_text(self.url + "\n", encoding="utf-8")
        url_file.chmod(0o600)

    def is_alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the server in order: everything accepted is on disk. May be called again, and by one who never started:
        the URL in the folder is then another farm's."""
        if self._process is not None:
            (self._data_dir / BROKER_URL_FILE).unlink(missing_ok=True)
            end_process(self._process, STOP_LIMIT_S)
            self._process = None
        if self._socket_home is not None:
            shutil.rmtree(self._socket_home, ignore_errors=True)
            self._socket_home = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _choose_socket(self) -> None:
        if len(os.fsencode(self._socket)) > MAX_SOCKET_PATH_BYTES:
            self._socket_home = Path(tempfile.mkdtemp(prefix="sigmafarm-", dir=_short_folder()))  # 0700 by itself
            self._socket = self._socket_home / "redis.sock"

    def _arguments(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        ]

    def _end_leftover(self) -> None:
        """End the server of a farm that died without ending it: we hold the lock, so nobody else uses it."""
        from redis.exceptions import RedisError

        if not self._socket.exists():
            return
        try:
            self._client().shutdown()
        except RedisError:
            self._socket.unlink(missing_ok=True)  # nobody listens there any more

    def _wait_until_ready(self) -> None:
        """Raises the last RedisError if it ends, or takes too long."""
        from redis.exceptions import RedisError

        assert self._process is not None
        end_s = self._clock.monotonic_s() + START_LIMIT_S
        while True:
            try:
                self._client().ping()
                return
            except RedisError:
                if self._process.poll() is not None or self._clock.monotonic_s() > end_s:
                    raise
            self._clock.wait(threading.Event(), LOOK_S)

    def _client(self) -> Redis:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return Redis(unix_socket_path=str(self._socket), socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def _last_words(self) -> str:
        lines = (self._folder / "server.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def end_process(process: subprocess.Popen[bytes], limit_s: float) -> int:
    """Ask a process of ours to end, make it end when the time is over, and return its exit code."""
    process.terminate()
    try:
        return process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def end_with_parent() -> None:
    """Runs in a child between fork and exec: let the kernel end it in order should we be killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _short_folder() -> str | None:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return runtime if runtime and len(runtime) < MAX_SOCKET_PATH_BYTES // 2 and Path(runtime).is_dir() else "/tmp"
