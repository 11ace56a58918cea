"""`python -m tests.chaos.simulated_worker`: the real supervisor and real worker processes around a simulated engine.

Everything but the engine is what runs in production: Celery's consumer, desk, renderer, renewer, pulse, keeper. The
hooks of hooks.py are put in here, and nowhere in the farm.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sigmafarm_common import celery_app
from sigmafarm_common.config import Config
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim, Dispatched, Fence, Output
from sigmafarm_worker.__main__ import main
from sigmafarm_worker.service import supervisor
from tests.chaos import simulated_engine
from tests.chaos.hooks import FOLDER_VARIABLE, Hook, hit, is_armed, note_pid

#: Dozens of kills in a minute are meant here: a dead worker is replaced at once, every time.
PAUSE_S = 0.3
COMMAND = [sys.executable, "-m", "tests.chaos.simulated_worker"]


def make_engine(config: Config, device: str, specs: Mapping[str, ModelSpec]) -> simulated_engine.SimulatedEngine:
    """Return the simulated engine; one process of several stands still when asked to."""

    def stands_still() -> bool:
        return is_armed(Hook.STAND_STILL) and _is_victim()

    def crawls() -> bool:
        return is_armed(Hook.CRAWL)

    return simulated_engine.make_engine(config, specs, stands_still=stands_still, crawls=crawls)


def _is_victim() -> bool:
    """Whether this process is the one that stands still: the first that wrote its id into the hook's file."""
    mark = Path(os.environ[FOLDER_VARIABLE]) / "stand-still.victim"
    try:
        with mark.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        pass
    return mark.read_text() in ("", str(os.getpid()))


def put_hooks_in() -> None:
    """Wrap the three lines at which a process may be hit."""
    claim, finish, publisher = RedisStore.claim, RedisStore.finish, celery_app.publisher

    def hooked_claim(self: RedisStore, job_id: str, worker_id: str) -> Claim | None:
        hit(Hook.KILL_BEFORE_CLAIM, signal.SIGKILL)
        return claim(self, job_id, worker_id)

    def hooked_finish(self: RedisStore, job_id: str, fence: Fence, output: Output) -> bool:
        hit(Hook.FREEZE_BEFORE_FINISH, signal.SIGSTOP)
        return finish(self, job_id, fence, output)

    def hooked_publisher(app: Any) -> celery_app.Publish:
        publish = publisher(app)

        def hooked_publish(jobs: Iterable[Dispatched]) -> None:
            chosen = tuple(jobs)
            if chosen:
                hit(Hook.KILL_BEFORE_PUBLISH, signal.SIGKILL)
            publish(chosen)

        return hooked_publish

    RedisStore.claim, RedisStore.finish, celery_app.publisher = hooked_claim, hooked_finish, hooked_publisher


if __name__ == "__main__":
    note_pid()
    put_hooks_in()
    supervisor.FIRST_PAUSE_S = supervisor.LONGEST_PAUSE_S = PAUSE_S
    sys.exit(main(make_engine=make_engine, command=COMMAND))
