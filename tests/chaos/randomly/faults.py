"""The faults of machines, processes, Redis and storage, and how long the farm takes to draw on after an outage."""

from __future__ import annotations

import signal
import time

from sigmafarm_common.errors import SigmafarmError
from tests.chaos.chaos_farm import is_alive, kill
from tests.chaos.hooks import Hook
from tests.chaos.proxy import Mode
from tests.chaos.randomly.stage import Stage
from tests.chaos.refusals import ANSWERS
from tests.chaos.rollback import put_back
from tests.chaos.s3_faults import StorageFault

#: Seconds that a recovery may take, while other faults hold it up.
RECOVERY_LIMIT_S = 60.0
#: The newest batches that tell whether there is work, and whether it goes on.
NUM_SEEN = 30


class Faults:
    """Injects one fault a call. A call that returns False found nobody to hit."""

    def __init__(self, stage: Stage):
        self.stage, self.chance = stage, stage.chance
        #: Seconds from each outage's end to the next finished picture.
        self.recoveries_s: list[float] = []

    # processes

    def _hit_worker(self, number: signal.Signals) -> int | None:
        """Send a signal to some worker and return its process id; None if there is none that is whole."""
        stage = self.stage
        whole = [w for w in stage.farm.workers() if is_alive(w.pid) and w.pid not in stage.frozen]
        if not whole:
            return None
        victim = self.chance.choice(whole)
        stage.hit_ms[victim.id], stage.pids[victim.id] = time.time() * 1000, victim.pid
        kill(victim.pid, number)
        return victim.pid

    def kill_worker(self) -> bool:
        return self._hit_worker(signal.SIGKILL) is not None

    def freeze_worker(self) -> bool:
        pid = self._hit_worker(signal.SIGSTOP)
        if pid is not None:
            self.stage.frozen[pid] = time.monotonic() + self.chance.uniform(0.5, 6.0)
        return pid is not None

    def kill_supervisor(self) -> bool:
        running = self.stage.running_supervisors()
        if running:
            self.chance.choice(running).kill()
        return bool(running)

    def end_worker_in_order(self) -> bool:
        running = self.stage.running_supervisors()
        if running:
            self.chance.choice(running).terminate()
        return bool(running)

    def kill_api(self) -> None:
        api = self.stage.api
        (api.process.kill if self.chance.random() < 0.5 else api.process.terminate)()
        api.process.wait()
        assert self.stage.api is not api

    def arm_a_hook(self) -> None:
        hooks = [Hook.KILL_BEFORE_CLAIM, Hook.FREEZE_BEFORE_FINISH, Hook.KILL_BEFORE_PUBLISH]
        self.stage.farm.arm(self.chance.choice(hooks))

    # Redis

    def restart_redis(self) -> None:
        self.stage.server.kill()
        time.sleep(self.chance.uniform(0, 2))  # the outage
        self.stage.server.start()
        self._time_recovery()

    def roll_redis_back(self) -> bool:
        if not self.stage.copies:
            return False
        copy = self.chance.choice(self.stage.copies)
        self.stage.rollbacks.append(put_back(self.stage.server, copy))
        self.stage.forget_copies_after(copy)
        self._time_recovery()
        return True

    def freeze_redis(self) -> None:
        self.stage.server.freeze()
        time.sleep(self.chance.uniform(0.5, 3))  # the outage
        self.stage.server.thaw()
        self._time_recovery()

    def cut_redis_off(self) -> None:
        self._spoil_answers(self.chance.choice([Mode.SWALLOW, Mode.DROP]), self.chance.uniform(0.2, 4))

    def lose_replies(self) -> None:
        self._spoil_answers(Mode.LOSE_REPLIES, self.chance.uniform(0.05, 0.5))

    def refuse_requests(self) -> None:
        refuser = self.stage.proxy.refuser
        refuser.answers = tuple(self.chance.sample(ANSWERS, self.chance.randint(1, 3)))
        refuser.share = self.chance.choice([0.1, 0.3, 1.0])
        self._spoil_answers(Mode.REFUSE, self.chance.uniform(0.3, 3))

    def _spoil_answers(self, mode: Mode, outage_s: float) -> None:
        self.stage.proxy.mode = mode
        time.sleep(outage_s)  # the outage
        self.stage.proxy.mode = Mode.PASS
        self._time_recovery()

    # storage

    def spoil_storage(self) -> None:
        """Let the storage fail, or be whole again; it stays so until the next time, or an outage of Redis."""
        self.stage.s3.fault = self.chance.choice([*StorageFault, None])
        self.stage.s3.share = self.chance.uniform(0.2, 1.0)

    # the way back

    def _time_recovery(self) -> None:
        """Note how long it takes until the next picture is recorded, if there is work. The storage must take it."""
        self.stage.s3.fault = None
        began_s, before = time.monotonic(), self._num_done()
        while time.monotonic() < began_s + RECOVERY_LIMIT_S + 1:
            try:
                if not self._has_work() or self._num_done() != before:
                    break
            except SigmafarmError as error:
                self.stage.note(f"look after an outage ({error.code})")
            self.stage.tend()
            time.sleep(0.05)  # a poll, bounded
        self.recoveries_s.append(time.monotonic() - began_s)

    def _num_done(self) -> int:
        return sum(b.counts.num_terminal for b in self.stage.farm.store.batches(limit=NUM_SEEN))

    def _has_work(self) -> bool:
        return any(not b.counts.is_done and not b.is_paused for b in self.stage.farm.store.batches(limit=NUM_SEEN))
