"""Ports of loopback for servers of tests, which nothing else takes meanwhile: between the choice of a port and the
moment at which a server listens there, or while it is killed and comes back, somebody else may come.

The ports that a system gives to whoever names none, and to the near end of each connection, begin at 32768 (Linux) or
49152 (macOS). Ours lie below. Each process of a run has a block of its own, of which a locked file tells the others:
other processes of the run, and other runs on the same machine.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from itertools import cycle
from pathlib import Path

__all__ = ["free_port"]

#: The first port of the first block, ports of a block, and blocks.
FIRST, BLOCK, NUM_BLOCKS = 20_000, 100, 120


def free_port() -> int:
    """Return a port of this process's block that nobody listens on. The next calls return others."""
    ports = _own_block(os.getpid())
    for _ in range(BLOCK):
        port = next(ports)
        if _is_free(port):
            return port
    raise RuntimeError(f"all of this process's {BLOCK} ports are in use")


@cache
def _own_block(pid: int) -> cycle[int]:
    """Return the ports of a block that no other process has. A lock says so until this one ends; a fork
    has a pid, and so a block, of its own."""
    folder = Path(tempfile.gettempdir(), f"sigmafarm-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for block in random.sample(range(NUM_BLOCKS), NUM_BLOCKS):
        lock = os.open(folder / str(block), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        first = FIRST + block * BLOCK
        return cycle(range(first, first + BLOCK))
    raise RuntimeError(f"all {NUM_BLOCKS} blocks of ports are other processes' (locked files in {folder})")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
