"""The checker on a farm that never stands still: whatever it catches in the middle of a move, it reports nothing."""

from __future__ import annotations

import hashlib
import random
import threading
from contextlib import suppress
from pathlib import Path

import redis

from sigmafarm_common.check import Violation, check_farm
from sigmafarm_common.config import Config
from sigmafarm_common.errors import Conflict
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim, Output
from tests.common.store_contract import submit, worker

#: Looks at the farm at least, jobs that the last must have seen, and seconds before each second look.
MIN_CHECKS, MIN_JOBS, PAUSE_S = 6, 100, 0.2
PICTURE = b"a picture"


class Hand(threading.Thread):
    """A worker that draws, fails, drops and dies by chance, with an operator's whims in between."""

    def __init__(self, config: Config, objects: FolderStore, number: int, stop: threading.Event):
        super().__init__(name=f"w{number}")
        self._store, self._objects, self._stopping = RedisStore(config), objects, stop
        self._chance = random.Random(number)
        #: What ended it before its time.
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._go_round()
        except Exception as error:
            self.error = error

    def _go_round(self) -> None:
        if self._chance.random() < 0.3:
            submit(self._store, self._chance.randint(1, 40), owner=self._chance.choice("ab"))
        self._steer()
        self._store.renew(worker(self.name, slots=8), [])
        for dispatched in self._store.dispatch():
            with suppress(Conflict):  # a job that runs alone waits until this worker is empty
                claim = self._store.claim(dispatched.job_id, self.name)
                if claim is not None:
                    self._end(claim)
        self._store.take_back()

    def _steer(self) -> None:
        store, chance = self._store, self._chance
        batches = store.batches(limit=10)
        whims = (store.pause_batch, store.resume_batch, store.resume_batch, store.retry_batch)
        if batches:
            chance.choice(whims)(chance.choice(batches).id)
            store.set_priority(chance.choice(batches).id, chance.randint(0, 2))

    def _end(self, claim: Claim) -> None:
        draw = self._chance.random()
        if draw < 0.6:
            key = f"{claim.batch_id}/{claim.job_id[-6:]}-f{claim.fence}.png"
            self._objects.put(key, PICTURE, "image/png")
            what = Output(key, hashlib.sha256(PICTURE).hexdigest(), len(PICTURE))
            if not self._store.finish(claim.job_id, claim.fence, what):
                self._objects.delete(key)
        elif draw < 0.8:
            self._store.fail(claim.job_id, claim.fence, code="e", message="m", retryable=True)
        elif draw < 0.95:
            self._store.release(claim.job_id, claim.fence)
        else:
            self._store.release_worker(self.name)


def test_a_busy_farm_raises_no_false_alarm(redis_client: redis.Redis, redis_url: str, tmp_path: Path):
    config, objects, stop = Config(redis_url=redis_url, retry_delay_s=0.1), FolderStore(tmp_path), threading.Event()
    hands = [Hand(config, objects, number, stop) for number in (1, 2)]
    for hand in hands:
        hand.start()
    found: list[Violation] = []
    num_jobs = num_checks = 0
    try:
        while num_checks < MIN_CHECKS or num_jobs < MIN_JOBS:  # a busy machine needs more looks for as many jobs
            assert all(hand.is_alive() for hand in hands), [hand.error for hand in hands]
            report = check_farm(config, RedisStore(config), objects, is_deep=True, pause_s=PAUSE_S)
            found += report.violations
            num_jobs, num_checks = report.num_jobs, num_checks + 1
    finally:
        stop.set()
        for hand in hands:
            hand.join()

    assert found == []
    assert [hand.error for hand in hands] == [None, None]
