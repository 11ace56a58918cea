"""What a run's faults, users and judge share: the farm, the servers, and what was done to them."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path

from sigmafarm_common.errors import SigmafarmError
from tests.chaos.api import Api
from tests.chaos.chaos_farm import ChaosFarm, Supervisor, kill
from tests.chaos.proxy import Proxy
from tests.chaos.randomly.mix import Mix
from tests.chaos.rollback import Copy, Rollback, take_copy
from tests.chaos.s3_faults import FaultyS3
from tests.redis_server import RedisServer

#: Seconds between two starts of supervisors that have ended, and between two copies of Redis; how many are kept.
RESTART_S, COPY_S, NUM_COPIES = 1.0, 1.0, 8


class Stage:
    """The farm under test with its servers, and a book of what happened."""

    def __init__(self, seed: int, folder: Path, server: RedisServer, proxy: Proxy, s3: FaultyS3):
        self.chance = random.Random(seed)
        self.mix = Mix.drawn(self.chance)
        self.folder, self.server, self.proxy, self.s3 = folder, server, proxy, s3
        self.redis_url = f"redis://127.0.0.1:{proxy.port}/0"
        self.farm = ChaosFarm(
            folder,
            worker_sees={"SIGMAFARM_REDIS_URL": self.redis_url},
            redis_url=server.url,
            objects_url="s3://renders/chaos",
            s3_endpoint_url=s3.url,
            stall_s=2.0,
            max_losses=1000,
            event_limit=1_000_000,
        )
        #: Accepted batches, in their order.
        self.batches: list[str] = []
        self.injected: dict[str, int] = defaultdict(int)
        self.rollbacks: list[Rollback] = []
        self.copies: list[Copy] = []
        #: When each worker was killed or frozen, by its id; and when a frozen one thawed, by its process id.
        self.hit_ms: dict[str, float] = {}
        self.thawed_ms: dict[int, float] = {}
        self.pids: dict[str, int] = {}
        #: Until when processes are frozen and workers drained, on the clock of time.monotonic.
        self.frozen: dict[int, float] = {}
        self.drained: dict[str, float] = {}
        self.stop = threading.Event()
        self._next_start_s = self._next_copy_s = 0.0
        self._num_copies = 0
        self._api: Api | None = None

    def note(self, what: str) -> None:
        self.injected[what] += 1

    def running_supervisors(self) -> list[Supervisor]:
        return [s for s in self.farm.supervisors if s.process.poll() is None]

    @property
    def api(self) -> Api:
        """The API's process; a new one if the last has ended."""
        if self._api is None or self._api.process.poll() is not None:
            self._api = self.farm.start_api(SIGMAFARM_REDIS_URL=self.redis_url)
        return self._api

    @property
    def api_address(self) -> str:
        """Where clients find the API: the last known place."""
        return str(self._api.client.base_url).rstrip("/") if self._api else ""

    def may_have_lost(self, batch_id: str) -> bool:
        """Whether a batch may be gone by a rollback: it was begun between a copy and the moment it was put back."""
        return any(r.may_have_lost(batch_id) for r in self.rollbacks)

    def tend(self) -> None:
        """Do what goes on beside the faults: frozen workers thaw in the end, drained ones take jobs again, Redis is
        copied, and supervisors that ended, as those do which find no Redis at their start, are started again by what
        starts services on a machine."""
        now_s = time.monotonic()
        for pid in [pid for pid, until_s in self.frozen.items() if now_s > until_s]:
            kill(pid, signal.SIGCONT)
            del self.frozen[pid]
            self.thawed_ms[pid] = time.time() * 1000
        for worker_id in [w for w, until_s in self.drained.items() if now_s > until_s]:
            self.undrain(worker_id)
        if now_s > self._next_start_s and len(self.running_supervisors()) < self.mix.num_workers:
            self._next_start_s = now_s + RESTART_S
            self.farm.start_worker()
            self.note("supervisor started again")
        if now_s > self._next_copy_s:
            self._next_copy_s = now_s + COPY_S
            self._copy()

    def undrain(self, worker_id: str) -> None:
        self.drained.pop(worker_id, None)
        try:
            self.farm.store.drain_worker(worker_id, is_draining=False)
        except SigmafarmError as error:
            self.note(f"take jobs again ({error.code})")

    def forget_copies_after(self, copy: Copy) -> None:
        """Remove the copies that are younger than the one that was put back: they are of a time that has not been. What
        they record may be swept by now, since no record named it."""
        for younger in [each for each in self.copies if each.at_s > copy.at_s]:
            self.copies.remove(younger)
            younger.remove()

    def _copy(self) -> None:
        self._num_copies += 1
        self.copies.append(take_copy(self.server, self.folder / f"copy-{self._num_copies}"))
        while len(self.copies) > NUM_COPIES:
            self.copies.pop(0).remove()
