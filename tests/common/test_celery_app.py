"""The carrier: settings that the farm's promises rest on, URLs, and messages on a real server."""

from __future__ import annotations

import json

import pytest
import redis

from sigmafarm_common.celery_app import CALLS_PER_TRIP, make_app, publisher
from sigmafarm_common.config import Config
from sigmafarm_common.errors import StoreUnavailable
from sigmafarm_common.store.values import Dispatched
from sigmafarm_common.transport import Transport


def test_message_is_json_and_holds_a_job_id_and_nothing_else(redis_client: redis.Redis, redis_url: str) -> None:
    publish = publisher(make_app(Config(redis_url=redis_url)))

    publish([Dispatched("batch-000001", "sd15")])

    (raw,) = redis_client.lrange("render.sd15", 0, -1)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "sigmafarm.render"
    assert message["headers"]["argsrepr"] == "['batch-000001']"
    assert len(raw) < 1500


def test_more_calls_than_go_out_at_once_all_arrive_in_their_order(redis_client: redis.Redis, redis_url: str) -> None:
    jobs = [Dispatched(f"batch-{n:06d}", "sd15") for n in range(2 * CALLS_PER_TRIP + 7)]

    publisher(make_app(Config(redis_url=redis_url)))(jobs)

    sent = [json.loads(raw)["headers"]["argsrepr"] for raw in redis_client.lrange("render.sd15", 0, -1)]
    assert sent[::-1] == [f"['{job.job_id}']" for job in jobs]


def test_second_farm_on_a_server_has_queues_of_its_own(redis_client: redis.Redis, redis_url: str) -> None:
    publisher(make_app(Config(redis_url=redis_url, namespace="two")))([Dispatched("batch-000001", "sd15")])

    assert redis_client.llen("two:celery:render.sd15") == 1
    assert redis_client.llen("render.sd15") == 0


def test_publishing_to_a_server_that_is_away_says_so() -> None:
    publish = publisher(make_app(Config(redis_url="redis://127.0.0.1:1/0", redis_timeout_s=0.5)))

    with pytest.raises(StoreUnavailable, match="SIGMAFARM_REDIS_URL"):
        publish([Dispatched("batch-000001", "sd15")])


def test_kombu_gets_the_parts_and_its_name_for_the_server_holds_no_secret() -> None:
    app = make_app(Config(redis_url="redis://u:pw@host:6380/2"))

    connection = app.connection_for_read()

    assert connection.get_transport_cls() is Transport
    assert connection.as_uri(include_password=True).endswith("host:6380/2")
    assert "pw" not in connection.as_uri(include_password=True)
    assert "pw" not in repr(app.conf.broker_transport_options)


def test_nothing_of_celery_redelivers_or_keeps_results() -> None:
    conf = make_app(Config(redis_url="redis://host/0")).conf

    assert (conf.task_acks_late, conf.task_ignore_result, conf.result_backend) == (False, True, None)
    assert conf.accept_content == ["json"]
    assert (conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (1, True)
    assert conf.broker_transport_options["visibility_timeout"] == 6 * 3600
    assert "retry_on_timeout" not in conf.broker_transport_options
