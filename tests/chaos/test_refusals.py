"""Row 26 of the fault table: a Redis that answers with errors which are on nobody's list, now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.chaos.chaos_farm import until
from tests.chaos.conftest import MakeFarm
from tests.chaos.proxy import Mode, Proxy
from tests.chaos.refusals import ANSWERS
from tests.redis_server import RedisServer


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port, seed=26)
    yield proxy
    proxy.close()


def test_26_workers_go_on_through_unknown_answers_and_no_innocent_job_fails(make_farm: MakeFarm, proxy: Proxy) -> None:
    """Guards that an unknown answer is a store that is away, and that only an error of drawing is a verdict about a
    job. Without that jobs fail for good at their first try, by what their finish was answered."""
    farm = make_farm(worker_sees={"SIGMAFARM_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"})
    pids = {w.pid for w in farm.start_workers(2)}
    batch_id = farm.submit_and_draw(120, 4, num_inference_steps=60)

    for answer in ANSWERS:
        proxy.refuser.answers = (answer,)
        for share, lasts_s in ((1.0, 0.4), (0.3, 0.6)):  # nothing passes; then some things do
            proxy.refuser.share, proxy.mode = share, Mode.REFUSE
            time.sleep(lasts_s)
            proxy.mode = Mode.PASS
            time.sleep(0.2)  # some work between two refusals

    farm.end_and_check(batch_id)
    assert [(j.id, j.error) for j in farm.jobs(batch_id) if j.attempts] == [], "a job was judged by an answer of Redis"
    assert {w.pid for w in farm.wait_for_workers(2)} == pids


def test_26_finish_that_is_answered_with_anything_is_said_again_and_is_no_verdict(
    make_farm: MakeFarm, proxy: Proxy
) -> None:
    """Guards the same for the one call that decides: while every finish is answered so, all else passes, so that a
    verdict about the job would arrive."""
    farm = make_farm(worker_sees={"SIGMAFARM_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"})
    farm.start_workers(1)
    batch_id = farm.submit(100, num_inference_steps=20)
    proxy.refuser.only = b".png"  # of all requests only a finish names a picture

    for answer in ANSWERS:
        proxy.refuser.answers, proxy.mode = (answer,), Mode.REFUSE
        enough = proxy.refuser.num_refused + 4
        until(lambda enough=enough: proxy.refuser.num_refused >= enough, f"finishes are answered {answer}")
        proxy.mode = Mode.PASS
        done = farm.store.batch(batch_id).counts.num_terminal
        until(lambda done=done: farm.store.batch(batch_id).counts.num_terminal > done, "some are drawn")

    farm.end_and_check(batch_id)
    assert [(j.id, j.fence, j.attempts) for j in farm.jobs(batch_id) if (j.fence, j.attempts) != (1, 0)] == []


@pytest.mark.parametrize("answer", ANSWERS, ids=[a.partition(" ")[0].strip("-").lower() for a in ANSWERS])
def test_26_api_says_503_to_an_unknown_answer_and_goes_on_after_it(
    make_farm: MakeFarm, proxy: Proxy, answer: str
) -> None:
    """Guards the same at the API: unavailable and worth another try, not a fault of its own (500)."""
    farm = make_farm()
    api = farm.start_api(SIGMAFARM_REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    batch_id = farm.submit(1)
    assert api.client.get(f"/v1/batches/{batch_id}").is_success
    proxy.refuser.answers, proxy.mode = (answer,), Mode.REFUSE

    api.check_away("GET", f"/v1/batches/{batch_id}")
    api.check_away("POST", "/v1/batches", json={"prompts": ["a"]}, headers={"Idempotency-Key": "once"})
    api.check_away("POST", f"/v1/batches/{batch_id}/cancel")
    proxy.mode = Mode.PASS

    until(lambda: api.client.get(f"/v1/batches/{batch_id}").is_success, "the API goes on")
    assert len(farm.store.batches()) == 1
