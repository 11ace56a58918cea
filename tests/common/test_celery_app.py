"""The carrier: settings that the farm's promises rest on, URLs, and messages on a real server."""

from __future__ import annotations

import json
import ssl

import pytest
import redis

from sigmafarm_common.celery_app import broker_url, make_app, publisher
from sigmafarm_common.config import Config
from sigmafarm_common.errors import StoreUnavailable
from sigmafarm_common.store.protocol import Dispatched
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


def test_second_farm_on_a_server_has_queues_of_its_own(redis_client: redis.Redis, redis_url: str) -> None:
    publisher(make_app(Config(redis_url=redis_url, namespace="two")))([Dispatched("batch-000001", "sd15")])

    assert redis_client.llen("two:celery:render.sd15") == 1
    assert redis_client.llen("render.sd15") == 0


def test_publishing_to_a_server_that_is_away_says_so() -> None:
    publish = publisher(make_app(Config(redis_url="redis://127.0.0.1:1/0", redis_timeout_s=0.5)))

    with pytest.raises(StoreUnavailable, match="SIGMAFARM_REDIS_URL"):
        publish([Dispatched("batch-000001", "sd15")])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("redis://host:6379/2", "sigmafarm://host:6379/2"),
        ("redis://:pw@host/0", "sigmafarm://:pw@host/0"),
        ("rediss://u:pw@host:6380/0?ssl_ca_certs=/ca.pem", "sigmafarm://u:pw@host:6380/0"),
        ("unix:///run/farm.sock", "sigmafarm+socket:///run/farm.sock?virtual_host=0"),
        ("unix:///run/farm.sock?db=3", "sigmafarm+socket:///run/farm.sock?virtual_host=3"),
    ],
)
def test_redis_urls_become_urls_of_our_transport(given: str, expected: str) -> None:
    assert broker_url(given) == expected


def test_connection_uses_the_guarded_transport_and_the_url_s_parts() -> None:
    connection = make_app(Config(redis_url="redis://u:pw@host:6380/2")).connection_for_read()

    assert connection.get_transport_cls() is Transport
    parts = (connection.hostname, connection.port, connection.virtual_host, connection.userid, connection.password)
    assert parts == ("host", 6380, "2", "u", "pw")


def test_tls_checks_the_certificate_unless_told_otherwise() -> None:
    app = make_app(Config(redis_url="rediss://host:6380/0?ssl_ca_certs=/ca.pem"))

    assert app.conf.broker_use_ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}
    assert make_app(Config(redis_url="redis://host/0")).conf.broker_use_ssl is None


def test_nothing_of_celery_redelivers_or_keeps_results() -> None:
    conf = make_app(Config(redis_url="redis://host/0")).conf

    assert (conf.task_acks_late, conf.task_ignore_result, conf.result_backend) == (False, True, None)
    assert conf.accept_content == ["json"]
    assert (conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (1, True)
    assert conf.broker_transport_options["visibility_timeout"] == 6 * 3600
    assert "retry_on_timeout" not in conf.broker_transport_options
