"""Whether what was written is on a server's disk, as INFO tells it: for servers whose WAITAOF answers too soon.

Under `appendfsync everysec` Valkey (seen with 9.1.2, by strace) and Redis 7.4 answer WAITAOF when their file is written
and not yet synced (redis/redis#13793). INFO tells what is still to be written, and whether a sync is under way. A sync
begins a second after the last one at the latest, at the next turn of the server's loop; each look is such a turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: After so long without anything left to write, a sync has begun that holds all of it: a second, and a look more.
SYNC_S = 1.1
#: Pause between two looks; shorter than what SYNC_S has above a second.
LOOK_S = 0.04


class DiskWatch:
    """What a server's disk was seen to do since something was written."""

    def __init__(self) -> None:
        self._written_s: float | None = None
        self._num_late = -1

    def is_on_disk(self, info: Mapping[str, Any], now_s: float) -> bool:
        """Look once more: at INFO's section `persistence`, and the time after it came. Raises KeyError where the server
        does not tell."""
        num_late, is_written = int(info["aof_delayed_fsync"]), not info["aof_buffer_length"]
        if num_late != self._num_late or not is_written:  # a write that was put off may have skipped a sync
            self._num_late, self._written_s = num_late, None
        if self._written_s is None and is_written:
            self._written_s = now_s
        is_begun = self._written_s is not None and now_s - self._written_s >= SYNC_S
        return is_begun and not info["aof_pending_bio_fsync"]
