"""Faults at an exact line of a process: a test arms one by a file, the first process that gets there takes it.

The file's name is the hook's; taking it is one atomic unlink, so that a fault happens once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from enum import StrEnum
from pathlib import Path

#: Where the files lie; without it no hook is ever armed.
FOLDER_VARIABLE = "CHAOS_HOOKS"
#: Longer than a signal takes to reach every thread of its process.
HIT_S = 1.0
#: What the name of a process's file ends with.
PID_SUFFIX = ".pid"
#: Held from the look at a hook until the signal came: no other thread of the process passes the same line meanwhile.
_HITTING = threading.Lock()


class Hook(StrEnum):
    """The lines at which a process may be hit."""

    #: A worker has popped a message and has not claimed its job: killed.
    KILL_BEFORE_CLAIM = "kill-before-claim"
    #: A worker has stored a picture and has not said so: frozen.
    FREEZE_BEFORE_FINISH = "freeze-before-finish"
    #: The leader has chosen jobs and has not published their calls: killed.
    KILL_BEFORE_PUBLISH = "kill-before-publish"
    #: The engine does no step as long as the file is there. Never taken.
    STAND_STILL = "stand-still"
    #: The engine does a step in CRAWL_S as long as the file is there: its jobs live, and do not end. Never taken.
    CRAWL = "crawl"


def note_pid() -> None:
    """Write down that this process belongs to the farm of these hooks."""
    if said := os.environ.get(FOLDER_VARIABLE):
        (Path(said) / f"{os.getpid()}{PID_SUFFIX}").touch()


def pids(folder: Path) -> list[int]:
    """Return the processes that were noted, living or not."""
    return [int(file.stem) for file in folder.glob(f"*{PID_SUFFIX}")]


def arm(folder: Path, hook: Hook) -> None:
    """Let the next process that gets there be hit."""
    (folder / hook.value).touch()


def disarm(folder: Path, hook: Hook) -> None:
    """Take a hook away that nobody took."""
    (folder / hook.value).unlink(missing_ok=True)


def is_armed(hook: Hook, folder: Path | None = None) -> bool:
    """Whether a hook still waits."""
    place = folder or (Path(said) if (said := os.environ.get(FOLDER_VARIABLE)) else None)
    return place is not None and (place / hook.value).exists()


def hit(hook: Hook, number: signal.Signals) -> None:
    """Send this process a signal if the hook is armed, and take it."""
    with _HITTING:
        if not is_armed(hook):
            return
        try:
            (Path(os.environ[FOLDER_VARIABLE]) / hook.value).unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), number)
        time.sleep(HIT_S)  # it may be another thread that takes the signal first, while this one would go on
