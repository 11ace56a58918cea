"""Who is compared, each as its documentation says for jobs that must not be lost, and how its workers are started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

APPS = "tests.bench.queues.apps"
_CELERY = ("-m", "celery", "-A", f"{APPS}.celery_app", "worker", "-P", "threads", "-c", "8", "-l", "CRITICAL")
_CELERY += ("-n", "worker-{number}@%h")
_QUIET = ("--without-gossip", "--without-mingle")
_RELIER = ("-m", "celery", "-A", "relier.tasks.app", "worker", "-c", "8", "-l", "CRITICAL")
_RELIER += ("--include", f"{APPS}.relier_app", "-n", "worker-{number}@%h")


@dataclass(frozen=True)
class Contender:
    """A queue."""

    name: str
    #: What is installed for it, pinned.
    packages: Sequence[str]
    #: The module of apps/ that submits.
    app: str
    #: What starts a worker: what follows the Python of an environment of its own. `{number}` is the worker's.
    worker: Sequence[str]
    #: How it is set up: everything else is its default.
    setup: str
    #: Variables beside the broker's and the ledger's addresses, which `{broker}` stands for.
    environ: Mapping[str, str] = field(default_factory=dict)


CONTENDERS: tuple[Contender, ...] = (
    Contender(
        "celery, defaults",
        ("celery==5.7.0", "redis==8.1.0", "packaging==26.3"),
        "celery_app",
        (*_CELERY, *_QUIET),
        "acknowledges a task before it runs (its default)",
    ),
    Contender(
        "celery, late ack",
        ("celery==5.7.0", "redis==8.1.0", "packaging==26.3"),
        "celery_app",
        (*_CELERY, *_QUIET),
        "task_acks_late, task_reject_on_worker_lost, prefetch 1, visibility timeout 10 s",
        {"QUEUES_LATE": "1"},
    ),
    Contender(
        "celery and relier",
        ("relier==0.1.7", "celery[redis]==5.7.0"),
        "relier_app",
        (*_RELIER, "-Q", "high_priority,default,low_priority,re-queue", *_QUIET),
        "idempotent tasks, heartbeat 10 s (its default), 20 resurrections; every worker runs a resurrector",
        {"RELIER_REDIS_URL": "{broker}", "RELIER_MAX_RESURRECTIONS": "20", "RELIER_LOG_LEVEL": "CRITICAL"},
    ),
    Contender(
        "dramatiq",
        ("dramatiq[redis]==2.2.1", "redis==8.1.0"),
        "dramatiq_app",
        ("-m", "dramatiq", f"{APPS}.dramatiq_app", "--processes", "1", "--threads", "8"),
        "late acknowledgement (its default), heartbeat timeout 10 s, looked for in one call of 20, 20 retries",
    ),
    Contender(
        "taskiq-redis",
        ("taskiq==0.13.0", "taskiq-redis==1.2.4"),
        "taskiq_app",
        ("-m", "taskiq", "worker", f"{APPS}.taskiq_app:broker", "--workers", "1", "--max-async-tasks", "8"),
        "RedisStreamBroker, idle timeout and lock timeout 10 s, reads one message at a time",
    ),
    Contender(
        "arq",
        ("arq==0.28.0",),
        "arq_app",
        ("-m", "arq", f"{APPS}.arq_app.WorkerSettings"),
        "time limit 5 s, so that a dead worker's job is begun again after 15 s; 20 tries",
    ),
    Contender(
        "saq",
        ("saq[redis]==0.26.4", "typing_extensions==4.16.0"),
        "saq_app",
        ("-m", "saq", f"{APPS}.saq_app.settings"),
        "time limit 10 s, 20 retries, a sweep every 5 s",
    ),
    Contender(
        "pydocket",
        ("pydocket==0.27.0",),
        "docket_app",
        ("-m", f"{APPS}.docket_app"),
        "redelivery timeout 10 s",
    ),
)
