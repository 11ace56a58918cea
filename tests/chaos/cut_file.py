"""A Redis whose machine lost its power: of its append-only file, what was written and not yet on the disk is gone, from
a byte on that nobody chooses. The page cache that holds it survives a kill, so a test cuts the file itself."""

from __future__ import annotations

import random
from pathlib import Path

from tests.limits import until
from tests.redis_server import RedisServer


def append_only_file(server: RedisServer) -> Path:
    """Return the file that a server appends to."""
    (path,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    return path


def num_written(server: RedisServer) -> int:
    """Return the bytes of that file, once all that was answered is in it."""
    with server.client() as client:
        until(lambda: not client.info("persistence").get("aof_buffer_length"), "the server's file is written")
    return append_only_file(server).stat().st_size


def crash_and_cut(server: RedisServer, at_least: int, seed: int) -> int:
    """Kill the server, cut its file at a byte from `at_least` on that the seed draws, and start it again. Returns how
    many bytes were lost."""
    server.kill()
    path = append_only_file(server)
    size = path.stat().st_size
    end = random.Random(seed).randint(min(at_least, size), size)
    with path.open("r+b") as file:
        file.truncate(end)
    server.start()
    return size - end
