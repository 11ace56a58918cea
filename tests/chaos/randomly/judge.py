"""The end of a run: everything is healed, the farm comes to its end, and all of it is judged."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from sigmafarm_common.check import Rule, check_farm
from sigmafarm_common.check.violation import Violation
from sigmafarm_common.config import Config
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from tests.chaos import journal
from tests.chaos.chaos_farm import kill
from tests.chaos.clients import Returning
from tests.chaos.hooks import Hook
from tests.chaos.proxy import Mode
from tests.chaos.randomly.faults import RECOVERY_LIMIT_S, Faults
from tests.chaos.randomly.report import Outcome, states_of
from tests.chaos.randomly.stage import Stage
from tests.chaos.randomly.users import Users

#: Seconds that the way to the end may take.
LIMIT_S = 180.0
#: Seconds that the judge waits for an answer of a whole Redis.
ANSWER_S = 30.0
#: Sweeps that come sooner than this are waited for; those that are planned later are brought forward.
SOON_S = 60.0
#: Codes with which supervisors may end: in order, service away, killed, told to end before they listened to signals.
EXIT_CODES = (0, 3, -signal.SIGKILL, -signal.SIGTERM)
#: First words of prompts whose jobs may fail.
FAILING = ("broken", "memory")


class Judge:
    """Heals a stage, waits for its end, and says what came of it."""

    def __init__(self, stage: Stage, faults: Faults, users: Users):
        self.stage, self.faults, self.users = stage, faults, users
        self.farm = stage.farm
        # The run's own settings give an answer a second, which a busy machine may take.
        self.store = RedisStore(Config.load(**{**stage.farm.config.model_dump(), "redis_timeout_s": ANSWER_S}))

    def heal(self) -> None:
        """Mend everything that was broken on purpose."""
        self.stage.proxy.mode, self.stage.s3.fault = Mode.PASS, None
        for hook in Hook:
            (self.farm.hooks / hook.value).unlink(missing_ok=True)
        for worker in self.store.workers():
            kill(worker.pid, signal.SIGCONT)
            self.stage.undrain(worker.id)
        for batch in self._batches():
            with suppress(SigmafarmError):  # forgotten by a rollback that is just over
                self.store.resume_batch(batch.id)
        assert self.stage.api_address or not self.stage.mix.num_clients

    def conclude(self, seed: int, seconds: float) -> Outcome:
        """Wait for every job's end, put the farm before the checker, and tell."""
        healed_s = time.monotonic()
        self.users.join(LIMIT_S)
        self._wait_until(lambda: all(b.counts.is_done for b in self._batches()))
        ended_s = time.monotonic() - healed_s
        self._wait_until(lambda: not self.store.finished_batches())
        self._wait_until(lambda: not self.store.num_sweeps_planned(SOON_S))
        num_late = self._bring_sweeps_forward()
        num_probes = self._sweep_probes()
        report = check_farm(self.farm.config, self.store, self.farm.objects, is_final=True, is_deep=True)
        lost_objects = [v for v in report.violations if self._is_of_lost_batch(v)]
        known = {b.id for b in self._batches()}
        jobs = [j for batch_id in known for j in self.store.jobs(batch_id, limit=100_000)]
        tries = journal.entries(self.farm.hooks)
        return Outcome(
            seed=seed,
            seconds=seconds,
            mix=str(self.stage.mix),
            injected=dict(self.stage.injected),
            num_storage_faults=self.stage.s3.num_faults,
            num_lost_replies=self.stage.proxy.num_lost_replies,
            num_refused=self.stage.proxy.refuser.num_refused,
            states=states_of(jobs),
            num_losses=sum(j.losses for j in jobs),
            num_claims=sum(j.fence for j in jobs),
            num_reused=sum(bool(j.reused_from) for j in jobs),
            num_drawn=sum(t.is_drawn for t in tries),
            steps_drawn=sum(t.step for t in tries if t.is_drawn),
            steps_dropped=sum(t.step for t in tries if not t.is_drawn),
            redis_recoveries_s=[round(s, 2) for s in self.faults.recoveries_s],
            take_backs_s=self._take_backs_s(jobs),
            end_s=round(ended_s, 1),
            num_clients=len(self.users.clients),
            num_client_tries=sum(len(c.tries) for c in self.users.clients),
            num_probes=num_probes,
            num_late_pictures=num_late,
            num_lost_batches=sum(b not in known for b in self.stage.batches),
            num_lost_objects=len(lost_objects),
            num_batches=report.num_batches,
            num_pictures=report.num_pictures,
            violations=[
                *self._slow_recoveries(),
                *self._strange_ends(),
                *self._vanished(known),
                *_innocents(jobs),
                *self._clients(jobs),
                *self.farm.impossible(),
                *(str(v) for v in report.violations if v not in lost_objects),
            ],
        )

    def _batches(self) -> list[Batch]:
        """Return every batch that the records know, those of clients too."""
        return self.store.batches(limit=100_000)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for the end as long as it may take. What is not at its end then is found by the checker."""
        end_s = time.monotonic() + LIMIT_S
        while not condition() and time.monotonic() < end_s:
            self.stage.tend()
            time.sleep(0.05)  # a poll, bounded

    def _bring_sweeps_forward(self) -> int:
        """Let the farm make at once the sweeps that it planned for later, and return how many objects they removed: a
        picture that lands late lies there until then. What it has no plan for stays, and is a violation."""
        before = self._num_objects()
        key = f"{self.farm.config.namespace}:sweeps"
        planned = self.store.client.zrange(key, 0, -1)
        if planned:
            self.store.client.zadd(key, dict.fromkeys(planned, 1))
        self._wait_until(lambda: not self.store.num_sweeps_planned(SOON_S))
        return before - self._num_objects()

    def _num_objects(self) -> int:
        return sum(1 for _ in self.farm.objects.list())

    def _sweep_probes(self) -> int:
        """Remove what an operator's sweep removes of supervisors that were killed while they tried the storage, and
        nothing else: a picture that lies about is a violation."""
        probes = [o.key for o in self.farm.objects.list("check-")]
        for key in probes:
            self.farm.objects.delete(key)
        return len(probes)

    # what is wrong, and what a rollback excuses

    def _is_of_lost_batch(self, violation: Violation) -> bool:
        """Whether an object lies under a batch that no record names since Redis went back: `sigmafarm check` tells of
        it, and nothing may remove it by itself."""
        is_stranger = violation.rule is Rule.ORPHAN and "belongs to no batch" in violation.message
        return is_stranger and self.stage.may_have_lost(violation.batch_id)

    def _vanished(self, known: set[str]) -> Iterator[str]:
        for batch_id in self.stage.batches:
            if batch_id not in known and not self.stage.may_have_lost(batch_id):
                yield f"accepted batch {batch_id} is gone, and no rollback took it"

    def _slow_recoveries(self) -> Iterator[str]:
        for seconds in self.faults.recoveries_s:
            if seconds > RECOVERY_LIMIT_S:
                yield f"no picture for {seconds:.0f} s after an outage of Redis"

    def _strange_ends(self) -> Iterator[str]:
        for supervisor in self.farm.supervisors:
            if (code := supervisor.process.poll()) not in (None, *EXIT_CODES):
                yield f"{supervisor.log.name}: the supervisor ended with {code}"

    def _clients(self, jobs: list[Job]) -> Iterator[str]:
        for client in self.users.clients:
            if not client.picture:
                why = client.refusal or "it was never answered"
                yield f"{client.prompt} has no picture: {why}; its tries: {' '.join(client.tries)}"
            num = sum(t.is_drawn for t in journal.entries(self.farm.hooks, client.prompt))
            if num > self._most_drawings(client, jobs):
                yield f"the picture of {client.prompt} was drawn {num} times; its tries: {' '.join(client.tries)}"

    def _most_drawings(self, client: Returning, jobs: list[Job]) -> int:
        """Return how often a client's picture may be drawn: once, and once more for everything that ended a try of its
        job, sent Redis back, or broke an answer, so that nobody could know the request again."""
        lost = sum(a.outcome == "lost" for j in jobs if j.request.prompt == client.prompt for a in j.history)
        broken = sum(t not in ("200", "ReadTimeout") for t in client.tries)
        return 2 + lost + broken + len(self.stage.rollbacks)

    def _take_backs_s(self, jobs: list[Job]) -> list[float]:
        """Return the seconds from each hit to each take-back; losses before, or after a thaw, had another reason."""
        stage, found = self.stage, list[float]()
        for lost in [a for j in jobs for a in j.history if a.outcome == "lost" and a.worker in stage.hit_ms]:
            hit_ms, thawed_ms = stage.hit_ms[lost.worker], stage.thawed_ms.get(stage.pids[lost.worker], math.inf)
            if hit_ms <= lost.ended_ms <= thawed_ms:
                found.append(round((lost.ended_ms - hit_ms) / 1000, 2))
        return found


def _innocents(jobs: list[Job]) -> Iterator[str]:
    """Yield the jobs that failed and whose prompt asked for no fault."""
    for job in jobs:
        if job.state is JobState.FAILED and not job.request.prompt.startswith(FAILING):
            yield f"innocent job {job.id} failed: {job.error_code}: {job.error}"
