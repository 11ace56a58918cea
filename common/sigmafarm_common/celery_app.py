"""Celery as the farm uses it: a carrier of wake-up calls. A message holds a job id and nothing else; the truth is in
the store. Each setting here has its reason in a measured fault of Celery on Redis (see Decisions in common/README.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote

from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from sigmafarm_common import transport
from sigmafarm_common.config import Config
from sigmafarm_common.redis_address import RedisAddress
from sigmafarm_common.redis_pool import HEALTH_CHECK_INTERVAL_S
from sigmafarm_common.store.redis.redis_errors import translated
from sigmafarm_common.store.values import Dispatched

#: The one task. It is sent by name: only workers have the function.
RENDER_TASK = "sigmafarm.render"
#: A backstop only: with early acknowledgement nothing of ours waits for it.
VISIBILITY_TIMEOUT_S = 6 * 3600
#: Calls that go to the server at once.
CALLS_PER_TRIP = 50

Publish = Callable[[Iterable[Dispatched]], None]


def queue_name(model: str) -> str:
    """Return the Celery queue of a model's jobs."""
    return f"render.{model}"


def make_app(config: Config) -> Celery:
    """Return a Celery app for this farm. Nothing is connected yet."""
    transport.register()
    address = config.redis_address()
    app = Celery("sigmafarm", broker=broker_url(address), set_as_current=False)
    app.conf.update(
        # Early acknowledgement leaves one redelivery mechanism: ours, by lease.
        task_acks_late=False,
        task_ignore_result=True,
        result_backend=None,
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
        broker_connection_timeout=config.redis_timeout_s,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A full Redis must not end workers.
        broker_channel_error_retry=True,
        broker_transport_options={
            "address": address,
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "socket_timeout": 2 * config.redis_timeout_s,
            "socket_connect_timeout": config.redis_timeout_s,
            "health_check_interval": HEALTH_CHECK_INTERVAL_S,
            "unacked_mutex_expire": 30,
            "global_keyprefix": _key_prefix(config),
        },
        worker_pool="threads",
        # A message that a busy worker holds back is one that an idle worker cannot have.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def publisher(app: Celery) -> Publish:
    """Return a function that publishes the wake-up calls of dispatched jobs over one kept connection.

    It raises StoreUnavailable when the server is away or refuses the call, AccessDenied when it refuses our
    credentials: what was not published is dispatched again later.
    """

    def publish(jobs: Iterable[Dispatched]) -> None:
        try:
            with (
                app.producer_pool.acquire(block=True, timeout=app.conf.broker_connection_timeout) as producer,
                producer.batch(max_size=CALLS_PER_TRIP),
            ):
                for job in jobs:
                    app.send_task(RENDER_TASK, args=[job.job_id], queue=queue_name(job.model), producer=producer)
        except (RedisError, KombuError, OSError, UnicodeDecodeError) as error:
            cause = error.__cause__  # kombu puts one of its own in front of redis-py's
            raise translated(cause if isinstance(cause, RedisError) else error) from error

    return publish


def broker_url(address: RedisAddress) -> str:
    """Return what kombu and its log call a Redis: a name for people, which holds no secret. The transport has the
    address itself."""
    if address.path:
        return f"{transport.SCHEME}://{quote(address.path, safe='')}/{address.db}"
    host, port = address.nodes[0]
    return f"{transport.SCHEME}://{quote(address.master_name or host, safe='')}:{port}/{address.db}"


def _key_prefix(config: Config) -> str:
    """Return what kombu's keys begin with: nothing, so that the queue `render.<model>` is the Redis list of that name,
    unless a second farm lives on the server under a namespace of its own."""
    default = Config.model_fields["namespace"].default
    return "" if config.namespace == default else f"{config.namespace}:celery:"
