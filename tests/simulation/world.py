"""A whole farm in one thread of control: what is true, what goes wrong, and whether every promise is kept."""

from __future__ import annotations

import hashlib
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from redis import Redis

from sigmafarm_common.config import Config
from sigmafarm_common.states import JobState
from tests.simulation import pictures, quotas
from tests.simulation.farm import FOREVER, SILENCE_S, Machine, Worker
from tests.simulation.faults import Mix
from tests.simulation.fronts import OWNER, Clients
from tests.simulation.scheduler import Process, Scheduler, VirtualClock
from tests.simulation.seams import sha256
from tests.simulation.stand_ins import in_virtual_hands
from tests.simulation.store import SimulatedStore, Violation
from tests.simulation.twin import Twin
from tests.simulation.users import Users
from tests.store_model.model_records import JobRecord

#: Jobs of a farm.
NUM_JOBS = 80
#: Virtual seconds of faults, and what a healed farm of so many jobs may take to end everything.
FAULTY_S, HEALED_S = 60.0, 1200.0
#: Until whoever draws for nobody has heard of it.
SETTLED_S = 20.0
#: When the last sweeps of batches with mishaps are due.
SWEEPS_S = (1300.0, 86_500.0)
SETTINGS = {"lease_s": 4.0, "unclaimed_s": 2.5, "retry_delay_s": 0.5, "max_images": 3, "lookahead": 1}
SETTINGS |= {"upload_keep_s": 6.0}
SETTINGS |= {"drain_s": 3.0, "redis_timeout_s": 1.0, "submit_stale_s": 5.0, "draw_wait_s": 120.0}
#: What still holds of a mix when all heals: what the jobs are, and how many there may be.
WISHED = ("long", "broken", "memory", "poison", "equal", "drawn_from", "quota")
#: How often a store that crashes is replaced at once, by a replica that is behind.
FAILED_OVER = 0.5
#: Seconds of newest writes that a rollback takes, at least and at most.
ROLLED_BACK_S = (0.05, 2.0)


@dataclass(frozen=True)
class Outcome:
    """What a run was."""

    seed: int
    #: Jobs that its users were to submit, and those that were accepted.
    num_wanted: int
    num_jobs: int
    num_turns: int
    virtual_s: float
    num_steps: int
    num_drawn: int
    #: The mix, and a number that two runs of one seed share if all that happened was the same.
    mix: str
    trace: str
    violation: str = ""
    #: Whether a server's scripts were asked too: a run without them is another.
    with_scripts: bool = False
    #: All that happened, where it was kept.
    story: tuple[str, ...] = ()


@cache
def config_of(tick_s: float) -> Config:
    """Return the farm's settings."""
    return Config(redis_url="redis://nowhere", **{**SETTINGS, "tick_s": tick_s})


class World:
    """One farm and its users, by a seed."""

    def __init__(
        self,
        seed: int,
        *,
        num_jobs: int = NUM_JOBS,
        num_machines: int = 0,
        mix: Mix | None = None,
        keeps_story: bool = False,
        server: Redis | None = None,
    ):
        """What is not said is drawn from the seed. With a server, the farm's scripts are asked beside the model."""
        self.seed, self.num_jobs = seed, num_jobs
        drawn = Random(seed)
        own_mix = Mix.drawn(seed)
        self.mix = own_mix if mix is None else mix
        #: What went wrong before all healed.
        self.drawn_mix = self.mix
        self.scheduler = Scheduler(drawn.randrange(1 << 60), switch_share=drawn.choice((0.02, 0.1, 0.3)))
        self.clock = VirtualClock(self.scheduler)
        self.config = config_of(drawn.choice((0.25, 0.5, 1.0)))
        self.submit_pause_s = drawn.choice((0.1, 1.0, 4.0))
        self.store = SimulatedStore(self.config, self.clock.now_ms, self)
        self.server = server
        self.twin = None if server is None else Twin(server, self.config, self.store, self.clock.now_ms)
        self.objects: dict[str, bytes] = {}
        #: Their keys by batch, in the order in which they came.
        self._keys: defaultdict[str, dict[str, None]] = defaultdict(dict)
        #: Keys of accepted pictures.
        self._accepted: dict[str, str] = {}
        #: Until when workers may be taken for silent; jobs whose worker may not know of its newest claim.
        self._silent: dict[str, float] = {}
        self._lost_claims: set[tuple[str, str]] = set()
        #: From when to when the store was away.
        self._outages: list[tuple[float, float]] = []
        #: Calls on their way: Celery's queue.
        self.calls: list[str] = []
        self.is_store_away = self.is_storage_away = self.is_healing = self.has_submitted = False
        self.num_steps = self.num_steps_dropped = self.num_drawn = self.num_rollbacks = 0
        #: Pictures that were stored before a rollback, and may be of tries that no record knows.
        self._forgotten: set[str] = set()
        self._trace, self._story, self._keeps_story = hashlib.blake2b(digest_size=8), list[str](), keeps_story
        drawn_machines = drawn.randint(1, 3)
        self.machines = [Machine(self, n) for n in range(num_machines or drawn_machines)]
        self.users, self.clients = Users(self), Clients(self)

    # What parts tell

    def note(self, what: str) -> None:
        """Write down what happened."""
        line = f"{self.scheduler.now_s:.3f} {what}"
        self._trace.update(line.encode())
        if self._keeps_story:
            self._story.append(line)

    def publish(self, job_id: str) -> None:
        self.calls.append(job_id)

    def put(self, key: str, data: bytes) -> None:
        if self._accepted.get(key, sha256(data)) != sha256(data):
            raise Violation(f"the accepted picture {key} was replaced by another (I4)")
        self.objects[key] = data
        self._keys[key.partition("/")[0]][key] = None
        self.note(f"{self.scheduler.process_name} puts {key}")

    def delete(self, key: str) -> None:
        if key in self._accepted:
            raise Violation(f"the accepted picture {key} was removed (I4)")
        if pictures.is_upload(key):
            pictures.check_removal(self.store, key)
        self.objects.pop(key, None)
        self._keys[key.partition("/")[0]].pop(key, None)
        self.note(f"{self.scheduler.process_name} deletes {key}")

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of a batch's objects that begin so."""
        return [key for key in self._keys[prefix.partition("/")[0]] if key.startswith(prefix)]

    def excuse(self, worker_id: str, for_s: float = 0.0) -> None:
        """A worker may seem silent from now on, for three leases after so many seconds."""
        until_s = self.scheduler.now_s + for_s + 3 * self.config.lease_s
        self._silent[worker_id] = max(until_s, self._silent.get(worker_id, 0.0))

    def fell_silent(self, worker_id: str) -> bool:
        return self._silent.get(worker_id, 0.0) > self.scheduler.now_s

    def reachable_s(self, last_s: float) -> float:
        now_s = self.scheduler.now_s
        return last_s - sum(max(0.0, min(to_s, now_s) - max(from_s, now_s - last_s)) for from_s, to_s in self._outages)

    def note_lost_claim(self, job_id: str) -> None:
        if job := self.store.find(job_id):
            self._lost_claims.add((job.id, job.token))

    def lost_claim(self, job: JobRecord) -> bool:
        return (job.id, job.token) in self._lost_claims

    def note_accepted(self, job: JobRecord) -> None:
        self._check_picture(job)
        self._accepted[job.image_key] = job.sha256
        self.note(f"{job.id} has succeeded")

    def _check_picture(self, job: JobRecord) -> None:
        data = self.objects.get(job.image_key)
        if data is None or sha256(data) != job.sha256:
            raise Violation(f"{job.id} succeeded and its picture {job.image_key} is not there as recorded (I4)")

    # The run

    def run(self) -> Outcome:
        """Let everything happen, heal, and see that all ends."""
        with in_virtual_hands(self):
            try:
                self._run()
                violation = ""
            except Violation as error:
                violation = str(error)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                violation = f"{type(error).__name__} in {where.name} of {Path(where.filename).name}: {error}"
        return Outcome(
            seed=self.seed,
            num_wanted=self.num_jobs,
            num_jobs=len(self.store.all_records()),
            num_turns=self.scheduler.num_turns,
            virtual_s=round(self.scheduler.now_s, 1),
            num_steps=self.num_steps,
            num_drawn=self.num_drawn,
            mix=self.drawn_mix.said(),
            trace=self._trace.hexdigest(),
            violation=violation,
            with_scripts=self.server is not None,
            story=tuple(self._story),
        )

    def _run(self) -> None:
        self.users.start()
        self.clients.start()
        nature = Process("nature")
        for do, every_s in self._misfortunes():
            self.scheduler.start(nature, partial(self._befall, do, every_s))
        if not self.scheduler.run(lambda: self.has_submitted, FAULTY_S * 4):
            self._heal()
        self.scheduler.run(lambda: self._is_done() and self.scheduler.num_turns > 0, FAULTY_S)
        self._heal()
        if not self.scheduler.run(self._is_done, HEALED_S * max(1.0, self.num_jobs / NUM_JOBS)):
            raise Violation(f"not every job ended (I1): {self._unfinished()}")
        self.scheduler.run(lambda: False, SETTLED_S)
        for after_s in SWEEPS_S:
            self._jump(after_s)
            self.scheduler.run(lambda: False, 8.0)
        self._check_end()

    def _misfortunes(self) -> Iterator[tuple[Callable[[], None], float]]:
        yield self._crash_worker, self.mix.crash_s
        yield self._freeze_worker, self.mix.freeze_s
        yield self._cut_store_off, self.mix.outage_s
        yield self._refuse_objects, self.mix.storage_outage_s
        yield self._crash_supervisor, self.mix.supervisor_crash_s
        yield self._drain_worker, self.mix.drain_s
        yield self._roll_back, 0.0 if self.twin else self.mix.rollback_s
        yield self.clients.crash_api, self.mix.api_crash_s
        yield self.clients.end_api, self.mix.api_end_s

    def _befall(self, do: Callable[[], None], every_s: float) -> None:
        while every_s and not self.is_healing:
            self.scheduler.wait(self.scheduler.chance.expovariate(1 / every_s))
            if not self.is_healing:
                do()

    def _worker(self) -> Worker | None:
        alive = [m.worker for m in self.machines if m.worker is not None and m.worker.process.is_alive]
        return self.scheduler.chance.choice(alive) if alive else None

    def _crash_worker(self) -> None:
        if worker := self._worker():
            self.note(f"{worker.id} is killed")
            self.excuse(worker.id, FOREVER)
            self.scheduler.end(worker.process)

    def _freeze_worker(self) -> None:
        if worker := self._worker():
            self.note(f"{worker.id} freezes")
            worker.process.is_frozen = True
            frozen_s = self.scheduler.chance.uniform(0.5, 12.0)
            self.excuse(worker.id, frozen_s + SILENCE_S)
            self.scheduler.wait(frozen_s)
            self.note(f"{worker.id} thaws")
            worker.process.is_frozen = False

    def _drain_worker(self) -> None:
        if worker := self._worker():
            self.note(f"{worker.id} is told to end")
            worker.is_stopping = True

    def _crash_supervisor(self) -> None:
        machine = self.scheduler.chance.choice(self.machines)
        self.note(f"{machine.supervisor.name} is killed")
        self.scheduler.end(machine.supervisor)
        self.scheduler.wait(self.scheduler.chance.uniform(0, 5.0))
        machine.start()

    def _cut_store_off(self) -> None:
        self.note("the store is away")
        self.is_store_away = True
        away_s = self.scheduler.chance.uniform(0.5, 10.0)
        self._outages.append((self.scheduler.now_s, self.scheduler.now_s + away_s))
        self.scheduler.wait(away_s)
        self.is_store_away = False
        if self.scheduler.chance.random() < 0.3:
            self.calls.clear()  # they lay in its memory

    def _roll_back(self) -> None:
        """The store crashes and comes back without its newest writes, though they were answered."""
        saved, calls = self.store.saved(), list(self.calls)
        self.scheduler.wait(self.scheduler.chance.uniform(*ROLLED_BACK_S))
        if self.scheduler.chance.random() < FAILED_OVER:
            self.note("a replica takes the store's place")
        else:
            self._cut_store_off()
        if self.is_healing:
            return
        self.note("the store has lost its newest writes")
        self.num_rollbacks += 1
        self.store.restore(saved)
        self.calls[:] = calls
        living = {m.worker.id for m in self.machines if m.worker is not None and m.worker.process.is_alive}
        for worker_id, jobs in self.store.held_by().items():
            self.excuse(worker_id, 0.0 if worker_id in living else FOREVER)
            for job_id in jobs:
                self.note_lost_claim(job_id)
        self._accepted = {}
        for job in self.store.all_records():
            if job.state is JobState.SUCCEEDED:
                self._check_picture(job)
                self._accepted[job.image_key] = job.sha256
        self._forgotten = set(self.objects)
        self.scheduler.start(self.users.process, self.users.make_anew)

    def _refuse_objects(self) -> None:
        self.note("the object store refuses")
        self.is_storage_away = True
        self.scheduler.wait(self.scheduler.chance.uniform(0.5, 15.0))
        self.is_storage_away = False

    def _heal(self) -> None:
        """End all faults and wishes."""
        if self.is_healing:
            return
        self.note("all heals")
        self.is_healing = True
        keep = {name: getattr(self.mix, name) for name in WISHED}
        self.mix = Mix(**keep)
        self.is_store_away = self.is_storage_away = False
        for machine in self.machines:
            if machine.worker is not None:
                machine.worker.process.is_frozen = False
            if not machine.supervisor.is_alive:
                machine.start()
        for batch_id in filter(self.store.has_batch, self.users.batches):
            self.ask("resume_batch", batch_id)
        self.scheduler.start(self.users.process, self.users.make_anew)

    def ask(self, name: str, /, *said: Any, **more: Any) -> Any:
        """Ask the records, and the server's beside them where there is one."""
        method = getattr(self.store, name)
        return self.twin.check(name, said, more, method) if self.twin else method(*said, **more)

    def _is_done(self) -> bool:
        is_over = self.has_submitted and not self.store.num_open and not self.store.finished_batches()
        return is_over and not self.clients.num_waiting and self.users.is_content

    def _jump(self, seconds: float) -> None:
        self.scheduler.now_s += seconds

    def _unfinished(self) -> str:
        if num := self.clients.num_waiting:
            return f"{num} clients still wait for their pictures"
        open_jobs = [f"{job.id} {job.state} of {job.worker or 'nobody'}" for job in self.store.open_records()]
        return ", ".join(open_jobs[:5]) or f"manifests of {self.store.finished_batches()}"

    def _check_end(self) -> None:
        if self.store.num_open:
            raise Violation(f"a job that had ended is open again (I1): {self._unfinished()}")
        accepted = Counter(job.batch.name for job in self.store.all_records() if job.batch.owner != OWNER)
        for order in self.users.orders:
            num = accepted.pop(order.name, 0)
            if num != len(order.rows) and not (order.is_given_up and num == 0):
                raise Violation(f"{num} jobs of {order.name} are there, and {len(order.rows)} were submitted (I1)")
        if accepted:
            raise Violation(f"jobs are there that nobody submitted: {dict(accepted)} (I1)")
        if num := self.store.num_unsealed:
            raise Violation(f"{num} batches of submitters that died are still there (I1)")
        wanted = self.store.wanted_pictures()
        extra = self._forgotten - set(wanted)
        drawn = (key for key in self.objects if not key.endswith("manifest.jsonl") and not pictures.is_upload(key))
        there = {key: sha256(self.objects[key]) for key in drawn if key not in extra}
        if wanted != there:
            odd = sorted(set(wanted.items()) ^ set(there.items()))[:3]
            raise Violation(f"the pictures are not those of the records (I4): {odd}")
        pictures.check_end(self.store, self.objects)
        for job in self.store.all_records():
            if job.losses > self.config.max_losses or job.attempts > self.config.max_attempts:
                raise Violation(f"{job.id} had {job.losses} losses and {job.attempts} attempts (I6)")
        quotas.check_end(self, self.config.owner)
