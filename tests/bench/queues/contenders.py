"""Who is compared, each as its documentation says for jobs that must not be lost, and how its workers are started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

APPS = "tests.bench.queues.apps"
_CELERY = ("-m", "celery", "-A", f"{APPS}.celery_app", "worker", "-P", "threads", "-c", "8", "-l", "CRITICAL")
_QUIET = ("--without-gossip", "--without-mingle")


@dataclass(frozen=True)
class Contender:
    """A queue. Commands are what follows the Python of the comparison's own environment."""

    name: str
    #: What is installed for it, pinned.
    packages: Sequence[str]
    submit: Sequence[str]
    worker: Sequence[str]
    #: How it is set up, and where its documentation says so.
    setup: str
    environ: Mapping[str, str] = field(default_factory=dict)


CONTENDERS: tuple[Contender, ...] = (
    Contender(
        "celery, defaults",
        ("celery==5.7.0", "redis==8.1.0"),
        ("-m", f"{APPS}.celery_app"),
        (*_CELERY, *_QUIET),
        "acknowledges a task before it runs (its default)",
    ),
    Contender(
        "celery, late ack",
        ("celery==5.7.0", "redis==8.1.0"),
        ("-m", f"{APPS}.celery_app"),
        (*_CELERY, *_QUIET),
        "task_acks_late, task_reject_on_worker_lost, prefetch 1, visibility timeout 10 s",
        {"QUEUES_LATE": "1"},
    ),
    Contender(
        "dramatiq",
        ("dramatiq[redis]",),
        ("-m", f"{APPS}.dramatiq_app"),
        ("-m", "dramatiq", f"{APPS}.dramatiq_app", "--processes", "1", "--threads", "8"),
        "late acknowledgement (its default), heartbeat timeout 10 s, 20 retries",
    ),
    Contender(
        "taskiq-redis",
        ("taskiq", "taskiq-redis"),
        ("-m", f"{APPS}.taskiq_app"),
        ("-m", "taskiq", "worker", f"{APPS}.taskiq_app:broker", "--workers", "1", "--max-async-tasks", "8"),
        "RedisStreamBroker, idle timeout 10 s",
    ),
    Contender(
        "arq",
        ("arq",),
        ("-m", f"{APPS}.arq_app"),
        ("-m", "arq.cli", f"{APPS}.arq_app.WorkerSettings"),
        "time limit 5 s, so that a dead worker's job is begun again after 15 s; 20 tries",
    ),
    Contender(
        "saq",
        ("saq[redis]",),
        ("-m", f"{APPS}.saq_app"),
        ("-m", "saq", f"{APPS}.saq_app.settings"),
        "time limit 10 s, 20 retries, a sweep every 5 s",
    ),
    Contender(
        "pydocket",
        ("pydocket",),
        ("-m", f"{APPS}.docket_app"),
        ("-m", f"{APPS}.docket_app", "serve"),
        "redelivery timeout 10 s",
    ),
)
