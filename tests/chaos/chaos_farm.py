"""A farm of real supervisors and workers around simulated engines, with short leases, to inject faults into."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sigmafarm import Farm
from sigmafarm_common.check import check_farm
from sigmafarm_common.records import Job, WorkerInfo
from sigmafarm_common.states import JobState
from tests.chaos import hooks
from tests.chaos.api import Api
from tests.chaos.hooks import Hook
from tests.chaos.simulated_worker import COMMAND
from tests.farm_harness import FarmHarness, Supervisor, until
from tests.small_model.traces import impossible

#: Short times, so that a test of a lease takes seconds.
SETTINGS: Mapping[str, Any] = {
    "lease_s": 2.0,
    "tick_s": 0.1,
    "unclaimed_s": 2.0,
    "retry_delay_s": 0.1,
    "max_images": 4,
    "lookahead": 2,
    "drain_s": 2.0,
    "redis_timeout_s": 1.0,
    "cpu_niceness": 0,  # its times are a farm's whose machines only draw
}
MODELS = '[models.sim]\npath = "sim"\ndefaults = { height = 64, width = 64, num_inference_steps = 20 }\n'
#: Repository root: where `python -m tests...` finds itself.
ROOT = Path(__file__).parents[2]


class ChaosFarm(FarmHarness):
    """The harness with simulated workers, hooks, and the checker at its end."""

    command = tuple(COMMAND)

    def __init__(
        self, folder: Path, *, worker_sees: Mapping[str, str] | None = None, step_s: float = 0.005, **said: Any
    ):
        """`worker_sees` are settings of the workers alone, as variables: the address of a proxy."""
        models = folder / "models.toml"
        models.write_text(MODELS)
        super().__init__(folder, **{**SETTINGS, "models_file": models, **said})
        self.apis: list[Api] = []
        self.hooks = folder / "hooks"
        self.hooks.mkdir()
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **self.environment,
            **(worker_sees or {}),
            "PYTHONPATH": os.pathsep.join(path),
            hooks.FOLDER_VARIABLE: str(self.hooks),
            "CHAOS_STEP_S": str(step_s),
        }

    def start_workers(self, num: int) -> list[WorkerInfo]:
        """Start so many supervisors and wait for their workers."""
        for _ in range(num):
            self.start_worker()
        return self.wait_for_workers(num)

    def start_api(self, **sees: str) -> Api:
        """Start a process of the HTTP API, with variables of its own; it ends with the farm. It may lead, as every
        keeper."""
        self.apis.append(Api({**self.config.environ(), **sees}, self.folder / f"api-{len(self.apis)}.log"))
        return self.apis[-1]

    def close(self) -> None:
        for api in self.apis:
            api.stop()
        super().close()
        for pid in hooks.pids(self.hooks):  # a frozen worker whose supervisor was killed is nobody's any more
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if any(word.startswith("tests.") for word in process.cmdline()):  # and no stranger who got its number
                    process.kill()

    def submit(
        self, prompts: int | Iterable[Any], *, name: str = "", priority: int = 0, reuse: bool = False, **defaults: Any
    ) -> str:
        """Submit prompts, or so many numbered ones, and return the batch id."""
        rows = [f"prompt {n}" for n in range(prompts)] if isinstance(prompts, int) else prompts
        with Farm(self.config) as producer:
            return producer.submit(rows, name=name, priority=priority, reuse=reuse, defaults=defaults).id

    def submit_and_draw(self, prompts: int | Iterable[Any], num: int, *, worker: str = "", **said: Any) -> str:
        """Submit a batch, and return its id once so many of its jobs are drawn; none of them ends before that."""
        with self.crawling():
            batch_id = self.submit(prompts, **said)
            self.wait_until_drawn(batch_id, num, worker=worker)
        return batch_id

    @contextmanager
    def crawling(self) -> Iterator[None]:
        """Let the engines crawl meanwhile: what runs goes on to run, however long this process is kept waiting."""
        self.arm(Hook.CRAWL)
        try:
            yield
        finally:
            hooks.disarm(self.hooks, Hook.CRAWL)

    def arm(self, hook: Hook) -> None:
        hooks.arm(self.hooks, hook)

    def wait_until_taken(self, hook: Hook) -> None:
        until(lambda: not hooks.is_armed(hook, self.hooks), f"some process was hit by {hook}")

    def jobs(self, batch_id: str) -> list[Job]:
        return self.store.jobs(batch_id, limit=100_000)

    def wait_until_drawn(self, batch_id: str, num: int = 1, *, worker: str = "") -> None:
        """Wait until so many jobs of a batch are in workers' hands, all of them in one if it is named."""

        def is_so() -> bool:
            running = [j for j in self.jobs(batch_id) if j.state is JobState.RUNNING]
            return sum(1 for j in running if not worker or j.worker == worker) >= num

        until(is_so, f"{num} jobs of {batch_id} run")

    def end_and_check(self, *batch_ids: str, all_succeed: bool = True) -> None:
        """Wait until the batches are done and concluded, and put the whole farm before the checker."""
        for batch_id in batch_ids:
            self.wait_for_batch(batch_id)
            self.wait_for_manifest(batch_id)
            if all_succeed:
                assert set(self.states(batch_id)) == {JobState.SUCCEEDED}, self.failures(batch_id)
        self.check()

    def check(self) -> None:
        """The six invariants at the end of a farm, with every picture's SHA-256."""
        report = check_farm(self.config, self.store, self.objects, is_final=True, is_deep=True, pause_s=1.0)
        assert report.is_clean, "\n".join(map(str, report.violations))
        assert (wrong := self.impossible()) == [], wrong

    def impossible(self) -> list[str]:
        """Return the events that no job could have had by the small model, as far as the stream is kept."""
        events = self.store.events(after="0", limit=100_000)
        return list(impossible(events, is_whole=len(events) < self.config.event_limit))

    def failures(self, batch_id: str) -> list[tuple[str, ...]]:
        return [
            (j.id, j.state, j.error_code, j.error) for j in self.jobs(batch_id) if j.state is not JobState.SUCCEEDED
        ]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process of ours that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


__all__ = ["ChaosFarm", "Hook", "Supervisor", "is_alive", "kill", "until"]
