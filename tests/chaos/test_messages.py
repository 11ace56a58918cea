"""Rows 12 and 14 of the fault table: messages that nobody should have sent, and one that was never sent."""

from __future__ import annotations

import json

from sigmafarm_common.celery_app import RENDER_TASK, make_app, queue_name
from sigmafarm_common.states import JobState
from tests.chaos.chaos_farm import Hook, until
from tests.chaos.conftest import MakeFarm
from tests.redis_server import RedisServer

#: What a hand or another program may leave in the queue: no JSON, no message, a message without a body, another task.
RUBBISH = (b"rubbish", b"\xff\xfe", b"{}", b"[]", b"null", json.dumps({"body": "x", "headers": {}}).encode())


def test_12_duplicate_forged_and_ghost_messages_are_dropped(make_farm: MakeFarm, server: RedisServer) -> None:
    """Guards the claim by compare-and-set. Without its check of the state a duplicate draws a finished job again."""
    farm = make_farm()
    (worker,) = farm.start_workers(1)
    done = farm.submit(2)
    farm.wait_for_batch(done)
    running = farm.submit_and_draw(2, 2, num_inference_steps=300)
    app = make_app(farm.config)

    ids = [j.id for b in (done, running) for j in farm.jobs(b)]
    for job_id in [*ids, *ids, f"{done}-000999", "0" * 14 + "-000000", "../../etc/passwd", "", "\x00"]:
        app.send_task(RENDER_TASK, args=[job_id], queue=queue_name("sim"))
    app.send_task(RENDER_TASK, args=[{"no": "id"}], queue=queue_name("sim"))
    app.send_task(RENDER_TASK, args=[], queue=queue_name("sim"))
    app.send_task("os.system", args=["true"], queue=queue_name("sim"))

    last = farm.submit(4)
    farm.end_and_check(done, running, last)
    assert {j.fence for b in (done, running, last) for j in farm.jobs(b)} == {1}
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]
    assert farm.logs().count("call dropped") >= 8


def test_12_rubbish_in_the_queue_does_not_stop_the_farm(make_farm: MakeFarm, server: RedisServer) -> None:
    """Guards the transport against what is no message. Without that the consumer ends, or connects again for each."""
    farm = make_farm()
    (worker,) = farm.start_workers(1)
    with server.client() as client:
        for rubbish in RUBBISH:
            client.lpush(queue_name("sim"), rubbish)

        batch_id = farm.submit(6)

        farm.end_and_check(batch_id)
        until(lambda: client.llen(queue_name("sim")) == 0, "the queue is empty")
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]
    assert farm.states(batch_id) == {JobState.SUCCEEDED: 6}


def test_14_keeper_killed_between_script_and_publish_loses_no_call(make_farm: MakeFarm) -> None:
    """Guards the second dispatch of calls that nobody claimed. Without it the chosen jobs stay queued for ever."""
    farm = make_farm()
    farm.start_workers(2)
    farm.arm(Hook.KILL_BEFORE_PUBLISH)

    batch_id = farm.submit(10)

    farm.wait_until_taken(Hook.KILL_BEFORE_PUBLISH)
    farm.end_and_check(batch_id)
    assert sum(s.process.poll() is not None for s in farm.supervisors) == 1
