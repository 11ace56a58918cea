"""The people of a run: those who submit without end, those who steer what they submitted, clients that leave and come
back."""

from __future__ import annotations

import random
import threading
import time

from sigmafarm_common.errors import NotFound, SigmafarmError
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from tests.chaos.clients import Returning
from tests.chaos.randomly.stage import Stage

#: The most open jobs that the load keeps, and their most steps: what can be drawn in some seconds.
MAX_OPEN, MAX_OPEN_STEPS = 80, 10_000
#: Megapixels of a picture.
MEGAPIXELS = 64 * 64 / 1e6
#: Steps of short jobs, of those that take longer than a lease, and of those whose steps are slow.
SHORT, LONG, SLOW = (5, 120), (350, 800), (6, 15)
#: The newest batches that are steered.
NUM_STEERED = 8


class Users:
    """Each method is one thing that people do; a call that returns False found nothing to do it to."""

    def __init__(self, stage: Stage):
        self.stage, self.chance, self.store = stage, stage.chance, stage.farm.store
        self.clients: list[Returning] = []
        self._threads: list[threading.Thread] = []

    # the load

    def start(self) -> None:
        """Begin to submit, and to ask as clients do, until the stage says stop."""
        self.submit(self.chance)
        loads = [self._keep_loaded, *[self._come_and_go] * self.stage.mix.num_clients]
        for number, load in enumerate(loads):
            chance = random.Random(self.chance.random())
            self._threads.append(threading.Thread(target=load, args=(chance, number), name=f"user {number}"))
            self._threads[-1].start()

    def join(self, limit_s: float) -> None:
        """Wait for those who still want an answer."""
        end_s = time.monotonic() + limit_s
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def submit(self, chance: random.Random) -> None:
        num_rows, reuse = chance.randint(5, 30), chance.random() < 0.25
        rows = [self._equal_row(chance) if reuse else self._row(chance, n) for n in range(num_rows)]
        self.stage.batches.append(self.stage.farm.submit(rows, priority=chance.randint(-5, 5), reuse=reuse))

    def _equal_row(self, chance: random.Random) -> dict[str, object]:
        """Return one of a few rows, which come again and again."""
        steps = {"prompt": SHORT[1], "long": LONG[0], "broken": SHORT[0], "memory": SHORT[0]}
        kind = chance.choice(list(steps))
        return {"prompt": f"{kind} equal", "num_inference_steps": steps[kind], "seed": chance.randint(0, 2)}

    def _row(self, chance: random.Random, number: int) -> dict[str, object]:
        mix = self.stage.mix
        kinds = {"broken": 0.015, "memory": 0.015, "long": mix.long_share, "slow": mix.slow_share, "prompt": 0.6}
        (kind,) = chance.choices(list(kinds), list(kinds.values()))
        steps = chance.randint(*{"long": LONG, "slow": SLOW}.get(kind, SHORT))
        return {"prompt": f"{kind} {number}", "num_inference_steps": steps, "seed": number}

    def _keep_loaded(self, chance: random.Random, _number: int) -> None:
        while not self.stage.stop.wait(chance.uniform(0.2, self.stage.mix.load_pause_s)):
            try:
                queues = self.store.queues()
                num_open = sum(q.running + q.dispatched + sum(q.waiting.values()) for q in queues)
                num_steps = sum(q.open_cost for q in queues) / MEGAPIXELS
                if num_open < MAX_OPEN and num_steps < MAX_OPEN_STEPS:
                    self.submit(chance)
            except SigmafarmError as error:
                self.stage.note(f"submit refused ({error.code})")

    def _come_and_go(self, chance: random.Random, number: int) -> None:
        never = threading.Event()
        while not self.stage.stop.wait(chance.uniform(0.2, 2.0)):
            name = f"client {number} {len(self.clients)} {chance.random()}"
            key = name if chance.random() < 0.5 else ""
            steps = chance.randint(*chance.choice([SHORT, LONG]))
            client = Returning(name, steps, chance.uniform(*self.stage.mix.patience_s), key=key)
            self.clients.append(client)
            client.ask_until_answered(lambda: self.stage.api_address, never)

    # those who steer

    def _some_batch(self) -> str:
        return self.chance.choice(self.stage.batches[-NUM_STEERED:])

    def _some_job(self, batch_id: str) -> Job:
        """Return a job, one that runs if there is one. Raises NotFound for a batch that went with a rollback."""
        jobs = self.stage.farm.jobs(batch_id)
        if not jobs:
            raise NotFound(f"batch {batch_id} has no jobs")
        return self.chance.choice([j for j in jobs if j.state is JobState.RUNNING] or jobs)

    def cancel_job(self) -> None:
        self.store.cancel_job(self._some_job(self._some_batch()).id)

    def cancel_batch(self) -> None:
        self.store.cancel_batch(self._some_batch())

    def retry(self) -> None:
        self.store.retry_batch(self._some_batch(), states=(JobState.FAILED, JobState.CANCELLED))

    def cancel_and_retry(self) -> None:
        """Cancel and queue again at once: a job or a batch, by the store or by the API."""
        batch_id = self._some_batch()
        job_id = self._some_job(batch_id).id
        is_job, is_by_api = self.chance.random() < 0.6, self.chance.random() < 0.5
        if is_by_api:
            thing = f"/v1/jobs/{job_id}" if is_job else f"/v1/batches/{batch_id}"
            for act in ("cancel", "retry" if is_job else "retry?state=cancelled"):
                status = self.stage.api.client.post(f"{thing}/{act}").status_code
                if status >= 400:
                    self.stage.note(f"steering by the API ({status})")
        elif is_job:
            self.store.cancel_job(job_id)
            self.store.retry_job(job_id)
        else:
            self.store.cancel_batch(batch_id)
            self.store.retry_batch(batch_id, states=(JobState.CANCELLED,))

    def pause_and_resume(self) -> None:
        """Pause a batch, or resume it if it is paused."""
        batch_id = self._some_batch()
        is_paused = self.store.batch(batch_id).is_paused
        (self.store.resume_batch if is_paused else self.store.pause_batch)(batch_id)

    def pause_and_resume_at_once(self) -> None:
        batch_id = self._some_batch()
        for _ in range(self.chance.randint(1, 3)):
            self.store.pause_batch(batch_id)
            self.store.resume_batch(batch_id)

    def change_priority(self) -> None:
        self.store.set_priority(self._some_batch(), self.chance.randint(-20, 20))

    def drain_worker(self) -> bool:
        """Tell a worker to take no more jobs for some seconds, while it draws; half of them go on."""
        whole = [w.id for w in self.stage.farm.workers() if w.id not in self.stage.drained]
        if len(self.stage.drained) >= self.stage.mix.num_workers // 2 or not whole:
            return False
        worker_id = self.chance.choice(whole)
        self.store.drain_worker(worker_id)
        self.stage.drained[worker_id] = time.monotonic() + self.chance.uniform(0.2, 4.0)
        return True
