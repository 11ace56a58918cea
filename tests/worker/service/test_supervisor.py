"""What a supervisor does when a worker's device can never be used: real processes, which only end or wait."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest
import redis

from sigmafarm_common.concluder import Concluder
from sigmafarm_common.config import Config
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_worker.service.cores import share_of_cores
from sigmafarm_worker.service.devices import VISIBLE, WorkerDevice
from sigmafarm_worker.service.supervisor import UNUSABLE_EXIT_CODE, Supervisor
from tests.limits import LIMIT_S, until

#: Writes down its device and what it sees, then ends with UNUSABLE_EXIT_CODE on a GPU that is in the list, else waits.
CHILD = f"""
import json, os, signal, sys
folder, bad, *arguments = sys.argv[1:]
device = arguments[arguments.index("--label") + 1]
told = arguments[arguments.index("--device") + 1]
said = [device, told, os.environ.get("{VISIBLE}"), os.environ["SIGMAFARM_NUM_THREADS"]]
open(os.path.join(folder, device + "." + str(os.getpid())), "w").write(json.dumps(said))
sys.exit({UNUSABLE_EXIT_CODE}) if device in bad.split(",") else signal.pause()
"""
HALF, WHOLE = str(share_of_cores(2)), str(share_of_cores(1))
BOTH = [["cuda:0", "cuda:0", "GPU-a", HALF], ["cuda:1", "cuda:0", "GPU-b", HALF]]
GPUS = [WorkerDevice("cuda:0", "cuda:0", "GPU-a"), WorkerDevice("cuda:1", "cuda:0", "GPU-b")]


class Run:
    """A supervisor in a thread, and the children that it started."""

    def __init__(self, config: Config, client: redis.Redis, folder: Path, bad: str):
        store = RedisStore(config, client)
        keeper = Keeper(config, store, lambda jobs: None)
        concluder = Concluder(config, store, FolderStore(folder / "objects"), keeper)
        command = [sys.executable, "-c", CHILD, str(folder), bad]
        self.supervisor = Supervisor(config, GPUS, store, keeper, concluder, command=command)
        self.code: int | None = None
        self._folder = folder
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run()

    def started(self) -> list[list[str | None]]:
        """Return label, device, what CUDA shows and the threads of every child so far."""
        return sorted(json.loads(file.read_text() or "[]") for file in self._folder.glob("c*.*"))

    def end(self) -> None:
        self.supervisor.stop()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


@pytest.mark.parametrize(
    ("bad", "left"),
    [
        ("cuda:1", BOTH),
        ("cuda:0,cuda:1", [["cpu", "cpu", None, WHOLE], *BOTH]),
    ],
    ids=["one of two", "all"],
)
def test_gpus_that_can_never_be_used_are_left_aside_and_the_cpu_takes_over_for_the_last(
    redis_client: redis.Redis, tmp_path: Path, bad: str, left: list[list[str | None]]
) -> None:
    run = Run(Config(device="auto", drain_s=0), redis_client, tmp_path, bad)
    try:
        until(lambda: run.started() == left, "every device was tried, and what is left works")
    finally:
        run.end()

    assert run.code == 0
    assert run.started() == left, "none was started again"


def test_gpus_that_were_asked_for_end_it_with_their_code(redis_client: redis.Redis, tmp_path: Path) -> None:
    run = Run(Config(device="cuda", drain_s=0), redis_client, tmp_path, "cuda:0,cuda:1")
    try:
        until(lambda: run.code is not None, "the supervisor has ended")
    finally:
        run.end()

    assert run.code == 2
