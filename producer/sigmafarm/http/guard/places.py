"""How much a process holds at once. Every connection is an open file, and so is much else: some are kept for that.

The file limit is raised as far as this user may, then the places follow from it: connections, of those requests and
streams of one owner and one key, bodies that are being received. No owner has more than a part, so that there is room
for others whatever one does.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Self

from sigmafarm_common.config import Config

#: More files than this are not asked for: nobody has so many clients.
MOST_FILES = 65_536
#: Files for all but connections: Redis, the object store, bodies put aside, logs. Where there are few, the half.
KEPT_FILES = 384
#: Of those, connections that are answered with a refusal (and /healthz) when all places are taken, those that are
#: accepted at one stroke, and bodies put aside; each this part.
KEPT_PART = 6


@dataclass(frozen=True)
class Share:
    """So many at once: in all, of one owner, by one key."""

    total: int
    owner: int
    key: int


@dataclass(frozen=True)
class Places:
    """The numbers of one process."""

    connections: int
    #: Connections beyond those, and accepted at one stroke.
    guests: int
    requests: Share
    streams: Share
    bodies: Share

    @classmethod
    def of(cls, config: Config, num_files: int) -> Self:
        """Return what the settings and a number of files allow."""
        kept = min(KEPT_FILES, num_files // 2)
        connections = min(config.max_connections, num_files - kept)
        guests = max(4, kept // KEPT_PART)
        num_streams = min(config.max_streams, max(1, connections // 2))
        return cls(
            connections=connections,
            guests=guests,
            requests=Share(connections, _part(connections, 4), _part(connections, 4)),
            streams=Share(
                num_streams,
                min(config.max_owner_streams, _part(num_streams, 3)),
                min(config.max_key_streams, _part(num_streams, 5)),
            ),
            bodies=Share(guests, _part(guests, 2), _part(guests, 2)),
        )


def raise_file_limit() -> int:
    """Let this process open as many files as its user may, within reason; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # a system that has a lower limit of its own
        return soft
    return most


def _part(num: int, divisor: int) -> int:
    return max(1, num // divisor)
