"""Row 23 of the fault table: a running job is cancelled and queued again, or paused and resumed, at once.

Its picture takes longer than a lease, so its new claim comes while the worker still draws under the old one.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable

import pytest

from sigmafarm_common.states import JobState
from tests import programs
from tests.chaos import journal
from tests.chaos.api import Api
from tests.chaos.chaos_farm import ChaosFarm, until
from tests.chaos.clients import Returning
from tests.chaos.conftest import MakeFarm

#: Steps of a job, which take more than two leases.
STEPS = 1000
Steer = Callable[[ChaosFarm, Api, str], object]


def by_store_job(farm: ChaosFarm, _api: Api, batch_id: str) -> None:
    job_id = farm.jobs(batch_id)[0].id
    farm.store.cancel_job(job_id)
    farm.store.retry_job(job_id)


def by_store_batch(farm: ChaosFarm, _api: Api, batch_id: str) -> None:
    farm.store.cancel_batch(batch_id)
    farm.store.retry_batch(batch_id, states=[JobState.CANCELLED])


def by_store_three_times(farm: ChaosFarm, api: Api, batch_id: str) -> None:
    for _ in range(3):
        by_store_job(farm, api, batch_id)
        farm.wait_until_drawn(batch_id)


def by_api_job(farm: ChaosFarm, api: Api, batch_id: str) -> None:
    job_id = farm.jobs(batch_id)[0].id
    for act in ("cancel", "retry"):
        assert api.client.post(f"/v1/jobs/{job_id}/{act}").is_success


def by_api_batch(_farm: ChaosFarm, api: Api, batch_id: str) -> None:
    assert api.cancel(batch_id).is_success
    assert api.client.post(f"/v1/batches/{batch_id}/retry?state=cancelled").json()["num_changed"] == 1


def by_dashboard(_farm: ChaosFarm, api: Api, batch_id: str) -> None:
    page = api.client.get(f"/batches/{batch_id}", headers={"Accept": "text/html"}).text
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    assert token, page
    for act in ("cancel", "retry?state=cancelled"):
        assert api.client.post(f"/batches/{batch_id}/{act}", data={"csrf_token": token[1]}).status_code == 303


def by_cli(farm: ChaosFarm, _api: Api, batch_id: str) -> None:
    for command in (["cancel", batch_id], ["retry", batch_id, "--cancelled"]):
        programs.run([sys.executable, "-m", "sigmafarm.cli", *command], env=farm.environment).check_returncode()


def by_pause(farm: ChaosFarm, _api: Api, batch_id: str) -> None:
    for _ in range(3):
        farm.store.pause_batch(batch_id)
        farm.store.resume_batch(batch_id)


def by_pause_seen(farm: ChaosFarm, _api: Api, batch_id: str) -> None:
    farm.store.pause_batch(batch_id)
    until(lambda: farm.jobs(batch_id)[0].state is JobState.QUEUED, "the worker hands it back")
    farm.store.resume_batch(batch_id)


#: Every way, and how many steps its jobs may lose: none where no try ends.
WAYS: tuple[Steer, ...] = (
    by_store_job,
    by_store_batch,
    by_store_three_times,
    by_api_job,
    by_api_batch,
    by_dashboard,
    by_cli,
    by_pause,
    by_pause_seen,
)


def check_drawn_once(farm: ChaosFarm, prompt: str) -> None:
    """A job's picture was drawn once, and no try went on that was not wanted any more."""
    tries = journal.entries(farm.hooks, prompt)
    assert [t.step for t in tries if t.is_drawn] == [STEPS], tries
    assert all(t.step < STEPS for t in tries if not t.is_drawn), tries


def test_23_running_job_that_is_cancelled_and_retried_is_drawn_once(make_farm: MakeFarm) -> None:
    """Guards the desk's keys (job and fence). With the job alone, the new claim takes the old one's place, the end of
    the old try takes the new one off the desk, nobody renews it, and it ends failed: `5 workers died with it`."""
    farm = make_farm(max_images=len(WAYS))
    farm.start_workers(1)
    api = farm.start_api()

    with farm.crawling():
        batches = {way: farm.submit([way.__name__], num_inference_steps=STEPS) for way in WAYS}
        for way, batch_id in batches.items():
            farm.wait_until_drawn(batch_id)
            way(farm, api, batch_id)

    farm.end_and_check(*batches.values())
    for way, batch_id in batches.items():
        check_drawn_once(farm, way.__name__)
        (job,) = farm.jobs(batch_id)
        assert (job.losses, job.attempts) == (0, 0), job


def test_23_picture_of_an_openai_client_is_queued_again_while_it_is_drawn(make_farm: MakeFarm) -> None:
    """Guards the same on the front's own way: what was cancelled under a client is queued again when it comes back."""
    farm = make_farm()
    farm.start_workers(1)
    address = str(farm.start_api().client.base_url)
    clients = [Returning("front", STEPS, patience_s=120, key="once") for _ in range(2)]
    threads = [
        threading.Thread(target=c.ask_until_answered, args=(lambda: address, threading.Event())) for c in clients
    ]

    with farm.crawling():
        threads[0].start()
        until(farm.store.batches, "its batch is there")
        (batch,) = farm.store.batches()
        farm.wait_until_drawn(batch.id)
        farm.store.cancel_batch(batch.id)
    threads[1].start()
    for thread in threads:
        thread.join()

    assert all(client.picture for client in clients), [(c.tries, c.refusal) for c in clients]
    farm.end_and_check(batch.id)
    check_drawn_once(farm, "front")
    assert [job.losses for job in farm.jobs(batch.id)] == [0]


@pytest.mark.parametrize("act", ["cancel", "pause"])
def test_23_cancel_and_pause_reach_the_engine_between_two_renewals(make_farm: MakeFarm, act: str) -> None:
    """Guards that a worker asks beside its renewals. Without that it draws on until the next one: here for a minute."""
    farm = make_farm(lease_s=240.0, step_s=0.05)
    (worker,) = farm.start_workers(1)
    batch_id = farm.submit_and_draw([act], 1, worker=worker.id, num_inference_steps=STEPS)

    (farm.store.cancel_batch if act == "cancel" else farm.store.pause_batch)(batch_id)

    until(lambda: journal.entries(farm.hooks, act), "the engine lets go of it", 20)
    (entry,) = journal.entries(farm.hooks, act)
    assert entry.step < STEPS / 2
    farm.store.resume_batch(batch_id)
    farm.store.cancel_batch(batch_id)
    farm.end_and_check(batch_id, all_succeed=False)
