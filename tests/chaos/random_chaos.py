"""Random faults on a farm at work, with a seed that repeats them: `python -m tests.chaos.random_chaos --seconds 60`.

Hundreds of jobs on several simulated workers, a real server and a faulty S3. Once the time is up everything is healed,
the farm comes to its end, and the checker looks at all of it. The same seed injects the same faults in the same order
at the same times; what they hit depends on the machine. Exit code 0: no violation.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import boto3

from sigmafarm_common.check import check_farm
from sigmafarm_common.errors import FarmUnavailable, SigmafarmError
from sigmafarm_common.job import Job
from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import ChaosFarm, Supervisor, is_alive, kill
from tests.chaos.hooks import Hook
from tests.chaos.proxy import Mode, Proxy
from tests.chaos.random_report import Outcome, states_of
from tests.chaos.s3_faults import FaultyS3, StorageFault
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.redis_server import RedisServer

#: Supervisors with one worker each, and the most open jobs that the load keeps.
NUM_WORKERS, MAX_OPEN = 4, 120
#: Pauses between two faults, and between two batches.
FAULT_PAUSE_S, LOAD_PAUSE_S = (0.3, 1.5), (0.2, 0.8)
#: Seconds between two starts of supervisors that have ended, and the codes with which they may: in order, service away,
#: killed, told to end before they listened to signals.
RESTART_S, EXIT_CODES = 1.0, (0, 3, -signal.SIGKILL, -signal.SIGTERM)
#: Seconds that the way to the end may take, and a recovery, while other faults hold it up.
LIMIT_S, RECOVERY_LIMIT_S = 180.0, 60.0


class RandomChaos:
    """One run: a farm, a load, and faults drawn from a seed."""

    def __init__(self, seed: int, folder: Path, server: RedisServer, proxy: Proxy, s3: FaultyS3):
        self.seed, self.chance = seed, random.Random(seed)
        self.server, self.proxy, self.s3 = server, proxy, s3
        self.farm = ChaosFarm(
            folder,
            worker_sees={"SIGMAFARM_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"},
            redis_url=server.url,
            objects_url="s3://renders/chaos",
            s3_endpoint_url=s3.url,
            stall_s=2.0,
            max_losses=1000,
            event_limit=1_000_000,
        )
        self.batches: list[str] = []
        self.injected: dict[str, int] = defaultdict(int)
        #: Seconds from each heavy fault's end to the next finished picture.
        self.recoveries_s: list[float] = []
        #: When each worker was killed or frozen, by its id; and when a frozen one thawed, by its process id.
        self.hit_ms: dict[str, float] = {}
        self.thawed_ms: dict[int, float] = {}
        self.pids: dict[str, int] = {}
        self.frozen: dict[int, float] = {}
        self.next_start_s = 0.0
        self.stop = threading.Event()
        self.actions: list[tuple[int, Callable[[], object]]] = [
            (6, self.kill_worker),
            (2, self.kill_supervisor),
            (3, self.freeze_worker),
            (2, self.restart_redis),
            (2, self.freeze_redis),
            (2, self.cut_redis_off),
            (2, self.lose_replies),
            (4, self.spoil_storage),
            (2, self.arm_a_hook),
            (1, self.end_worker_in_order),
            (4, self.cancel_job),
            (2, self.cancel_batch),
            (3, self.pause_and_resume),
            (3, self.retry),
        ]

    def run(self, seconds: float) -> Outcome:
        """Do it all, and return what came of it."""
        self.farm.start_workers(NUM_WORKERS)
        self.submit()
        end_s = time.monotonic() + seconds
        load = threading.Thread(target=self.keep_loaded, name="load")
        load.start()
        weights, actions = zip(*self.actions, strict=True)
        while time.monotonic() < end_s:
            self.inject(self.chance.choices(actions, weights)[0])
            self.tend()
            time.sleep(self.chance.uniform(*FAULT_PAUSE_S))  # the farm's life between two faults
        self.stop.set()
        load.join()
        healed_s = time.monotonic()
        self.heal()
        return self.conclude(healed_s, seconds)

    # the load

    def keep_loaded(self) -> None:
        chance = random.Random(self.chance.random())
        while not self.stop.wait(chance.uniform(*LOAD_PAUSE_S)):
            try:
                if sum(q.running + q.dispatched + sum(q.waiting.values()) for q in self.farm.store.queues()) < MAX_OPEN:
                    self.submit(chance)
            except SigmafarmError as error:
                self.note(f"submit refused ({error.code})")

    def submit(self, chance: random.Random | None = None) -> None:
        chance = chance or self.chance
        kinds = chance.choices(["prompt", "broken", "memory"], [60, 1, 1], k=chance.randint(5, 40))
        rows = [
            {"prompt": f"{kind} {n}", "num_inference_steps": chance.randint(5, 120), "seed": n}
            for n, kind in enumerate(kinds)
        ]
        self.batches.append(self.farm.submit(rows, priority=chance.randint(-5, 5)))

    # the faults

    def inject(self, action: Callable[[], object]) -> None:
        name = getattr(action, "__name__", "").replace("_", " ")
        try:
            if action() is not False:
                self.note(name)
        except FarmUnavailable:
            self.note(f"{name} (refused)")

    def note(self, what: str) -> None:
        self.injected[what] += 1

    def hit_worker(self, number: signal.Signals) -> int | None:
        """Send a signal to some worker and return its process id; None if there is none that is whole."""
        whole = [w for w in self.farm.workers() if is_alive(w.pid) and w.pid not in self.frozen]
        if not whole:
            return None
        victim = self.chance.choice(whole)
        self.hit_ms[victim.id], self.pids[victim.id] = time.time() * 1000, victim.pid
        kill(victim.pid, number)
        return victim.pid

    def kill_worker(self) -> bool:
        return self.hit_worker(signal.SIGKILL) is not None

    def kill_supervisor(self) -> None:
        if running := self.running_supervisors():
            self.chance.choice(running).kill()

    def end_worker_in_order(self) -> None:
        if running := self.running_supervisors():
            self.chance.choice(running).terminate()

    def freeze_worker(self) -> bool:
        pid = self.hit_worker(signal.SIGSTOP)
        if pid is None:
            return False
        self.frozen[pid] = time.monotonic() + self.chance.uniform(0.5, 6.0)
        return True

    def running_supervisors(self) -> list[Supervisor]:
        return [s for s in self.farm.supervisors if s.process.poll() is None]

    def tend(self) -> None:
        """Do what goes on beside the faults: frozen workers thaw in the end, and supervisors that ended, as those do
        which find no Redis at their start, are started again by what starts services on a machine."""
        self.thaw_late_ones()
        if time.monotonic() > self.next_start_s and len(self.running_supervisors()) < NUM_WORKERS:
            self.next_start_s = time.monotonic() + RESTART_S
            self.farm.start_worker()
            self.note("supervisor started again")

    def thaw_late_ones(self) -> None:
        for pid, until_s in list(self.frozen.items()):
            if time.monotonic() > until_s:
                kill(pid, signal.SIGCONT)
                del self.frozen[pid]
                self.thawed_ms[pid] = time.time() * 1000

    def restart_redis(self) -> None:
        self.server.kill()
        time.sleep(self.chance.uniform(0, 2))  # the outage
        self.server.start()
        self.time_recovery()

    def freeze_redis(self) -> None:
        self.server.freeze()
        time.sleep(self.chance.uniform(0.5, 3))  # the outage
        self.server.thaw()
        self.time_recovery()

    def cut_redis_off(self) -> None:
        self.proxy.mode = self.chance.choice([Mode.SWALLOW, Mode.DROP])
        time.sleep(self.chance.uniform(0.2, 4))  # the outage
        self.proxy.mode = Mode.PASS
        self.time_recovery()

    def lose_replies(self) -> None:
        self.proxy.mode = Mode.LOSE_REPLIES
        time.sleep(self.chance.uniform(0.05, 0.5))  # the outage
        self.proxy.mode = Mode.PASS
        self.time_recovery()

    def spoil_storage(self) -> None:
        self.s3.fault = self.chance.choice([*StorageFault, None])
        self.s3.share = self.chance.uniform(0.2, 1.0)

    def arm_a_hook(self) -> None:
        hooks = [Hook.KILL_BEFORE_CLAIM, Hook.FREEZE_BEFORE_FINISH, Hook.KILL_BEFORE_PUBLISH]
        self.farm.arm(self.chance.choice(hooks))

    # the owner

    def some_batch(self) -> str:
        return self.chance.choice(self.batches[-8:])

    def cancel_job(self) -> None:
        jobs = self.farm.jobs(self.some_batch())
        self.farm.store.cancel_job(self.chance.choice(jobs).id)

    def cancel_batch(self) -> None:
        self.farm.store.cancel_batch(self.some_batch())

    def pause_and_resume(self) -> None:
        batch_id = self.some_batch()
        if self.farm.store.batch(batch_id).is_paused:
            self.farm.store.resume_batch(batch_id)
        else:
            self.farm.store.pause_batch(batch_id)

    def retry(self) -> None:
        self.farm.store.retry_batch(self.some_batch(), states=(JobState.FAILED, JobState.CANCELLED))

    # the end

    def time_recovery(self) -> None:
        """Note how long it takes until the next picture is recorded, if there is work. The storage must take it."""
        self.s3.fault = None
        began_s = time.monotonic()
        before = self.num_done()
        while time.monotonic() < began_s + RECOVERY_LIMIT_S + 1:
            if not self.has_work() or self.num_done() != before:
                break
            self.tend()
            time.sleep(0.02)  # a poll, bounded
        self.recoveries_s.append(time.monotonic() - began_s)

    def num_done(self) -> int:
        return sum(self.farm.store.batch(b).counts.num_terminal for b in self.batches[-20:])

    def has_work(self) -> bool:
        batches = [self.farm.store.batch(b) for b in self.batches[-20:]]
        return any(not b.counts.is_done and not b.is_paused for b in batches)

    def heal(self) -> None:
        self.proxy.mode, self.s3.fault = Mode.PASS, None
        for hook in Hook:
            (self.farm.hooks / hook.value).unlink(missing_ok=True)
        for worker in self.farm.store.workers():
            kill(worker.pid, signal.SIGCONT)
        for batch_id in self.batches:
            self.farm.store.resume_batch(batch_id)

    def conclude(self, healed_s: float, seconds: float) -> Outcome:
        """Wait for every job's end, put the farm before the checker, and tell."""
        store, objects = self.farm.store, self.farm.objects
        self.wait_until(lambda: all(store.batch(b).counts.is_done for b in self.batches))
        ended_s = time.monotonic() - healed_s
        self.wait_until(lambda: not store.finished_batches())
        probes = self.sweep_probes()
        report = check_farm(self.farm.config, store, objects, is_final=True, is_deep=True)
        jobs = [j for b in self.batches for j in self.farm.jobs(b)]
        slow = [f"no picture for {s:.0f} s after an outage of Redis" for s in self.recoveries_s if s > RECOVERY_LIMIT_S]
        return Outcome(
            seed=self.seed,
            seconds=seconds,
            injected=dict(self.injected),
            num_storage_faults=self.s3.num_faults,
            num_lost_replies=self.proxy.num_lost_replies,
            states=states_of(jobs),
            num_losses=sum(j.losses for j in jobs),
            num_claims=sum(j.fence for j in jobs),
            redis_recoveries_s=[round(s, 2) for s in self.recoveries_s],
            take_backs_s=self.take_backs_s(jobs),
            end_s=round(ended_s, 1),
            num_probes=probes,
            num_batches=report.num_batches,
            num_pictures=report.num_pictures,
            violations=[*slow, *self.strange_ends(), *map(str, report.violations)],
        )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for the end as long as it may take. What is not at its end then is found by the checker."""
        end_s = time.monotonic() + LIMIT_S
        while not condition() and time.monotonic() < end_s:
            self.tend()
            time.sleep(0.05)  # a poll, bounded

    def sweep_probes(self) -> int:
        """Remove what an operator's sweep removes of supervisors that were killed while they tried the storage, and
        nothing else: a picture that lies about is a violation."""
        probes = [o.key for o in self.farm.objects.list("check-")]
        for key in probes:
            self.farm.objects.delete(key)
        return len(probes)

    def strange_ends(self) -> list[str]:
        codes = [(s.log.name, s.process.poll()) for s in self.farm.supervisors]
        return [f"{log}: the supervisor ended with {code}" for log, code in codes if code not in (None, *EXIT_CODES)]

    def take_backs_s(self, jobs: list[Job]) -> list[float]:
        """Return the seconds from each hit to each take-back; losses before, or after a thaw, had another reason."""
        found: list[float] = []
        for lost in [a for j in jobs for a in j.history if a.outcome == "lost" and a.worker in self.hit_ms]:
            hit_ms, thawed_ms = self.hit_ms[lost.worker], self.thawed_ms.get(self.pids[lost.worker], math.inf)
            if hit_ms <= lost.ended_ms <= thawed_ms:
                found.append(round((lost.ended_ms - hit_ms) / 1000, 2))
        return found


def run(seconds: float, seed: int) -> Outcome:
    """Run once on servers of its own, print the table, and return what came of it."""
    print(f"random chaos: seed {seed}, {seconds:g} s (again: --seed {seed})", flush=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's line for every request
    os.environ.update({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        server = RedisServer(folder / "redis", has_aof=True)
        server.start()
        stack.callback(server.stop)
        url = stack.enter_context(moto_server())
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket="renders")
        s3, proxy = FaultyS3(url, seed=seed), Proxy(server.port)
        stack.callback(s3.close)
        stack.callback(proxy.close)
        chaos = RandomChaos(seed, folder, server, proxy, s3)
        stack.callback(chaos.farm.close)
        outcome = chaos.run(seconds)
        print(outcome.table(), flush=True)
        return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.random_chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="repeats a run (default: a new one, which is printed)")
    parser.add_argument("--out", type=Path, default=None, help="append the outcome to this file, as a line of JSON")
    arguments = parser.parse_args()
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    outcome = run(arguments.seconds, seed)
    if arguments.out is not None:
        with arguments.out.open("a") as file:
            file.write(outcome.line() + "\n")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
