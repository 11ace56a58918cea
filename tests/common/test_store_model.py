"""Random lives of a farm, walked by RedisStore (on a real server) and by its model (tests/store_model) side by side.

Every answer must be the same, and after every step the invariants of store/protocol.py must hold. A failure prints the
steps that lead to it and a line that repeats it. SIGMAFARM_MODEL_SECONDS lengthens the search.
"""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sigmafarm_common.records import Job, WorkerInfo
from sigmafarm_common.states import TRANSITIONS, JobState, Outcome
from sigmafarm_common.store.ids import job_id
from sigmafarm_common.store.redis import submitting as redis_submitting
from sigmafarm_common.store.redis import working as redis_working
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import LOSSES_TO_BE_ALONE, Beat, Claim, Fence, Output
from tests.common.store_contract import CONFIG, WEIGHTS, FakeMs, request, worker
from tests.store_model import store_model
from tests.store_model.both import Both
from tests.store_model.store_model import StoreModel

#: How long the search goes on in a normal run.
SEARCH_S = float(os.environ.get("SIGMAFARM_MODEL_SECONDS", "15"))
#: One round of the search; rounds follow until the time is over, each with chances of its own.
PROFILE = settings(
    max_examples=10,
    stateful_step_count=50,
    derandomize=False,
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    # Without shrinking: a failure tells its steps at once, and a slow search for shorter ones hides it.
    phases=[Phase.generate],
)
#: Moves that a job may be seen to make in one step.
MOVES = {(t.source, t.target) for t in TRANSITIONS}

#: Batches of one walk: few, so that most steps are about what becomes of their jobs.
MAX_BATCHES = 5

OWNERS = st.sampled_from(["ann", "ben", "ann:x"])
KEYS = st.sampled_from([None, None, "k", "x:k"])
PRIORITIES = st.sampled_from([-100, 0, 0, 0, 7])
WORKERS = st.sampled_from(["w1", "w2"])
ROWS = st.lists(st.tuples(st.sampled_from(["m", "x"]), st.sampled_from([1, 10, 33])), max_size=6)
#: Which of the known batches, calls or claims, the newest first.
PICK = st.integers(0, 4)
SECONDS = st.sampled_from([0.001, 1, 1.999, 2, 3, 4.999, 5, 9.999, 10, 11, 61])


class Farm(RuleBasedStateMachine):
    """The rules: what owners, workers, keepers and time may do, in any order."""

    client: redis.Redis
    #: Counts what was begun: the id of the next batch in both stores.
    num_begun = 0
    #: Counts what was asked for: the token of the next claim in both stores.
    num_asked = 0

    @initialize()
    def start(self) -> None:
        self.client.flushall()
        self.clock = FakeMs()
        self.both: Any = Both(RedisStore(CONFIG, self.client, now_ms=self.clock), StoreModel(CONFIG, self.clock))
        Farm.num_begun = 0
        self.open: list[str] = []
        self.batches: list[str] = []
        self.calls: list[str] = []
        self.claims: list[Claim] = []
        self.finishes: dict[str, set[Fence]] = {}
        self.before: dict[str, Job] = {}
        self.is_retry = False

    # -- owners

    @precondition(lambda self: len(self.open + self.batches) < MAX_BATCHES)
    @rule(owner=OWNERS, key=KEYS, priority=PRIORITIES, rows=ROWS, reuse=st.booleans())
    def submit(self, owner: str, key: str | None, priority: int, rows: list[tuple[str, int]], reuse: bool) -> None:
        self.begin(owner, key, priority, reuse)
        if self.open:
            self.add(rows, len(self.open) - 1)
            self.seal(len(self.open) - 1)

    @precondition(lambda self: len(self.open + self.batches) < MAX_BATCHES)
    @rule(owner=OWNERS, key=KEYS, priority=PRIORITIES, reuse=st.booleans())
    def begin(self, owner: str, key: str | None, priority: int, reuse: bool) -> None:
        Farm.num_begun += 1
        said = {"name": "n", "owner": owner, "priority": priority, "defaults": {"seed": 1}, "reuse": reuse}
        ticket = self.both.begin_batch(**said, idempotency_key=key)
        if not isinstance(ticket, tuple) and ticket.is_new:
            self.open.append(ticket.batch_id)

    @precondition(lambda self: self.open)
    @rule(rows=ROWS.filter(bool), pick=PICK)
    def add(self, rows: list[tuple[str, int]], pick: int) -> None:
        batch_id = chosen(self.open, pick)
        self.both.add_rows(batch_id, [request(f"row {n}", model=m, steps=s) for n, (m, s) in enumerate(rows)])

    @precondition(lambda self: self.open)
    @rule(pick=PICK, num_rows=st.none() | st.integers(0, 3))
    def seal(self, pick: int, num_rows: int | None = None) -> None:
        batch_id = chosen(self.open, pick)
        answer = self.both.seal_batch(batch_id, num_rows=num_rows)
        if not isinstance(answer, tuple):
            self.batches.append(batch_id)
        elif answer[0] == "RecordsLost":
            return  # it is open still
        self.open.remove(batch_id)

    @precondition(lambda self: self.open or self.batches)
    @rule(pick=PICK)
    def discard(self, pick: int) -> None:
        self.both.discard_batch(chosen(self.open + self.batches, pick))

    @precondition(lambda self: self.batches)
    @rule(pick=PICK, call=st.sampled_from(["pause_batch", "resume_batch", "cancel_batch"]))
    def steer(self, pick: int, call: str) -> None:
        getattr(self.both, call)(chosen(self.batches, pick))

    @precondition(lambda self: self.batches)
    @rule(pick=PICK, priority=PRIORITIES)
    def set_priority(self, pick: int, priority: int) -> None:
        self.both.set_priority(chosen(self.batches, pick), priority)

    @precondition(lambda self: self.batches)
    @rule(pick=PICK, row=st.integers(0, 6))
    def cancel_job(self, pick: int, row: int) -> None:
        self.both.cancel_job(job_id(chosen(self.batches, pick), row))

    @precondition(lambda self: self.batches)
    @rule(pick=PICK, row=st.integers(0, 6), rating=st.integers(0, 6))
    def rate_job(self, pick: int, row: int, rating: int) -> None:
        self.both.rate_job(job_id(chosen(self.batches, pick), row), rating)

    @precondition(lambda self: self.batches)
    @rule(pick=PICK, row=st.integers(0, 6))
    def retry_job(self, pick: int, row: int) -> None:
        self.is_retry = True
        self.both.retry_job(job_id(chosen(self.batches, pick), row))

    @precondition(lambda self: self.batches)
    @rule(pick=PICK, states=st.sampled_from([["failed"], ["cancelled"], ["cancelled", "failed"]]))
    def retry_batch(self, pick: int, states: list[str]) -> None:
        self.is_retry = True
        self.both.retry_batch(chosen(self.batches, pick), states=[JobState(s) for s in states])

    # -- workers

    @rule(name=WORKERS, slots=st.integers(0, 3), lookahead=st.integers(0, 2), is_draining=st.booleans())
    def appear(self, name: str, slots: int, lookahead: int, is_draining: bool) -> None:
        models = ("m", "x") if name == "w1" else ("m",)
        info = worker(name, slots=slots, lookahead=lookahead, models=models)
        self.both.renew(info.model_copy(update={"is_draining": is_draining and slots == 1}), [])

    @rule()
    def work(self) -> None:
        """A healthy moment: what waits is dispatched and claimed."""
        self.both.renew(worker("w1", slots=3, models=("m", "x")), [])
        self.dispatch()
        for call in list(self.calls[-3:]):
            self.take(call, "w1")

    @precondition(lambda self: self.calls)
    @rule(pick=PICK, name=WORKERS)
    def claim(self, pick: int, name: str) -> None:
        self.take(chosen(self.calls, pick), name)

    def take(self, call: str, name: str) -> None:
        Farm.num_asked += 1
        claim = self.both.claim(call, name)
        if isinstance(claim, Claim):
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(name=WORKERS, picks=st.lists(st.tuples(PICK, st.integers(0, 40), st.booleans()), max_size=4))
    def renew(self, name: str, picks: list[tuple[int, int, bool]]) -> None:
        claims = {c.tried: (c, step, moved) for pick, step, moved in picks for c in [chosen(self.claims, pick)]}
        beats = [Beat(c.job_id, c.fence, step, moved) for c, step, moved in claims.values()]
        info: WorkerInfo = worker(name, slots=2, models=("m", "x"))
        self.both.renew(info, beats)
        self.both.drops([c.tried for c in self.claims])

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, other_key=st.booleans())
    def finish(self, pick: int, other_key: bool) -> None:
        claim = chosen(self.claims, pick)
        key = f"{claim.job_id}-f{claim.fence}{'-b' * other_key}.png"
        known = {"fingerprint": claim.source.fingerprint, "reused_from": claim.source.job_id} if claim.source else {}
        output = Output(key, "a" * 64, 9, **(known or {"fingerprint": "" if other_key else WEIGHTS}))
        was = self.both.job(claim.job_id)
        if self.both.finish(claim.job_id, claim.fence, output) and was.state is JobState.RUNNING:
            assert claim.fence not in self.finishes.setdefault(claim.job_id, set()), "two finishes of one claim"
            self.finishes[claim.job_id].add(claim.fence)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, retryable=st.booleans())
    def fail(self, pick: int, retryable: bool) -> None:
        claim = chosen(self.claims, pick)
        self.both.fail(claim.job_id, claim.fence, code="oops", message='it "broke" \u00e9\n', retryable=retryable)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, outcome=st.sampled_from([Outcome.RELEASED, Outcome.PAUSED]))
    def release(self, pick: int, outcome: Outcome) -> None:
        claim = chosen(self.claims, pick)
        self.both.release(claim.job_id, claim.fence, outcome=outcome)

    @rule(name=WORKERS, call=st.sampled_from(["release_worker", "forget_worker"]))
    def end_worker(self, name: str, call: str) -> None:
        getattr(self.both, call)(name)

    @rule()
    def crash(self) -> None:
        """A worker that has just taken jobs dies with all that it holds."""
        self.work()
        self.jobs_obey()
        self.both.release_worker("w1")

    # -- keeper and time

    @rule()
    def dispatch(self) -> None:
        self.calls += [d.job_id for d in self.both.dispatch()]

    @rule()
    def send_calls(self) -> None:
        """A worker has room; nobody answers yet."""
        self.both.renew(worker("w1", slots=3, models=("m", "x")), [])
        self.dispatch()

    @rule(judge_leases=st.booleans())
    def take_back(self, judge_leases: bool) -> None:
        self.both.take_back(judge_leases=judge_leases)

    @rule(seconds=SECONDS, is_kept=st.booleans())
    def advance(self, seconds: float, is_kept: bool) -> None:
        self.clock.advance(seconds)
        if is_kept:
            self.both.take_back()

    @precondition(lambda self: self.batches)
    @rule(pick=PICK, early=st.booleans(), old=st.booleans())
    def write_manifest(self, pick: int, early: bool, old: bool) -> None:
        batch = self.both.batch(chosen(self.batches, pick))
        self.both.note_manifest(batch.id, batch.finished_ms - early, batch.revision - old)

    @rule(is_late=st.booleans())
    def forget(self, is_late: bool) -> None:
        self.clock.advance(CONFIG.retention_s * is_late)
        gone = set(self.both.forget_batches())
        self.batches = [b for b in self.batches if b not in gone]
        self.calls = [c for c in self.calls if c.partition("-")[0] not in gone]
        self.claims = [c for c in self.claims if c.batch_id not in gone]
        for batch_id in gone:
            self.both.batch(batch_id)
            self.both.jobs(batch_id)
            assert not self.client.keys(f"*{batch_id}*")

    # -- what must hold

    @invariant()
    def both_see_the_same(self) -> None:
        for call in ("workers", "queues", "finished_batches", "totals", "pace"):
            getattr(self.both, call)()
        for batch_id in self.batches:
            self.both.failures(batch_id)
        for name in ("w1", "w2"):
            self.both.held_jobs(name)
        for owner in ("ann", "ben", "ann:x"):
            self.both.open_jobs(owner)
            self.both.batches(owner=owner)

    @rule()
    def look_back(self) -> None:
        self.both.batches()
        self.both.events(after="0", limit=10_000)
        self.both.last_events(limit=7)

    @invariant()
    def jobs_obey(self) -> None:
        now: dict[str, Job] = {}
        for batch_id in self.batches:
            jobs: list[Job] = self.both.jobs(batch_id, limit=1000)
            now.update((job.id, job) for job in jobs)
            batch = self.both.batch(batch_id)
            assert batch.counts.model_dump() == {s.value: sum(j.state is s for j in jobs) for s in JobState}
            assert (batch.finished_ms > 0) == batch.counts.is_done
        for job in now.values():
            self.check(job, self.before.get(job.id))
        self.check_places(list(now.values()))
        self.before, self.is_retry = now, False

    def check(self, job: Job, before: Job | None) -> None:
        assert job.attempts <= CONFIG.max_attempts
        assert job.losses <= CONFIG.max_losses
        if before and before.state.is_terminal and not self.is_retry:
            steered = {"priority": job.priority, "rating": job.rating}
            assert job == before.model_copy(update=steered), "a terminal job changed"
        if before and before.state is not job.state and not self.is_retry:
            assert (before.state, job.state) in MOVES

    def check_places(self, jobs: list[Job]) -> None:
        """A running job has a lease and is in its worker's hands; a queued one waits for exactly one thing."""
        pipeline = self.client.pipeline(transaction=False)
        for job in jobs:
            pipeline.zscore(f"sigmafarm:leases:{job.model}", job.id)
            pipeline.sismember(f"sigmafarm:worker:{job.worker}:jobs", job.id)
            pipeline.zscore(f"sigmafarm:dispatched:{job.model}", job.id)
            pipeline.zscore("sigmafarm:delayed", job.id)
            pipeline.zscore(f"sigmafarm:batch:{job.batch_id}:ready:{job.model}", job.row)
        found = iter(pipeline.execute())
        self.check_companies([job for job in jobs if job.state is JobState.RUNNING])
        for job in jobs:
            lease, is_held, *waits = (next(found) for _ in range(5))
            assert (lease is not None, bool(is_held)) == ((job.state is JobState.RUNNING,) * 2), job.id
            assert sum(w is not None for w in waits) == (job.state is JobState.QUEUED), f"{job.id} waits for {waits}"

    def check_companies(self, running: list[Job]) -> None:
        """A job that was there at two deaths has its worker to itself."""
        for job in running:
            if job.losses >= LOSSES_TO_BE_ALONE:
                assert [j.id for j in running if j.worker == job.worker] == [job.id]


def chosen(items: list[Any], pick: int) -> Any:
    """One of the items, counted from the newest."""
    return items[-1 - pick % len(items)]


@pytest.fixture
def farm(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> type[Farm]:
    """The machine on the run's server, with both stores giving batches the same ids, and claims the same tokens."""
    for module in (redis_submitting, store_model):
        monkeypatch.setattr(module, "new_batch_id", lambda: f"{Farm.num_begun:015d}")
    for module in (redis_working, store_model):
        monkeypatch.setattr(module, "new_token", lambda: f"{Farm.num_asked:08x}")
    return type("Farm", (Farm,), {"client": redis_client})


@pytest.mark.slow
def test_both_stores_answer_alike_whatever_happens(farm: type[Farm]):
    end = time.monotonic() + SEARCH_S

    while time.monotonic() < end:
        run_state_machine_as_test(farm, settings=PROFILE)
