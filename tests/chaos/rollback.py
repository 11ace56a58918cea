"""A Redis that goes back in time: a copy of its folder is put back, as an operator or a promoted replica does.

The server hands its file to the system before it answers, so a copy is what it had answered by then. One that runs
under `appendfsync everysec` may put that off while its disk is busy: a copy waits until nothing is put off. A line that
is cut off at the end is left out when it starts.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from sigmafarm_common.store.ids import ALPHABET, TIME_CHARS
from tests.limits import until
from tests.redis_server import RedisServer

#: By how much the time in a batch's id may be beside the moment in which its record was written.
SLACK_S = 2.0


@dataclass(frozen=True)
class Copy:
    """The server's folder as it was."""

    place: Path
    #: When it was taken, on the wall clock.
    at_s: float

    def remove(self) -> None:
        shutil.rmtree(self.place)


@dataclass(frozen=True)
class Rollback:
    """A time that the records know nothing of any more: from the copy to the moment when it was put back."""

    from_s: float
    to_s: float

    def may_have_lost(self, batch_id: str) -> bool:
        """Whether a batch was begun in that time."""
        return self.from_s - SLACK_S <= begun_s(batch_id) <= self.to_s + SLACK_S


def begun_s(batch_id: str) -> float:
    """Return the moment that a batch's id tells, on the wall clock."""
    number = 0
    for char in batch_id[:TIME_CHARS]:
        number = 32 * number + ALPHABET.index(char)
    return number / 1000


def take_copy(server: RedisServer, place: Path) -> Copy:
    """Copy the folder of a server that runs."""
    with server.client() as client:
        until(lambda: not client.info("persistence").get("aof_buffer_length"), "the server's file is written")
    at_s = time.time()
    shutil.copytree(server.folder, place)
    return Copy(place, at_s)


def put_back(server: RedisServer, copy: Copy) -> Rollback:
    """Kill the server, put the copy in the place of its folder, and start it. The copy stays for another time."""
    server.kill()
    shutil.rmtree(server.folder)
    shutil.copytree(copy.place, server.folder)
    to_s = time.time()
    server.start()
    return Rollback(copy.at_s, to_s)
