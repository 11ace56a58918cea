"""The store on Redis or Valkey. Every state change is one Lua script (lua/), which the parts in redis/ run.

What each key holds stands in common/README.md. Safe for threads. Every call is bounded by redis_timeout_s, and answers
a server that is away, frozen or full with StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from redis import Redis

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.store.redis.adopting import Adopting
from sigmafarm_common.store.redis.keeping import Keeping
from sigmafarm_common.store.redis.keyring import Keyring
from sigmafarm_common.store.redis.keyspace import Keyspace
from sigmafarm_common.store.redis.live_previews import LivePreviews
from sigmafarm_common.store.redis.reading import Reading
from sigmafarm_common.store.redis.safety import Safety
from sigmafarm_common.store.redis.seats import Seats
from sigmafarm_common.store.redis.steering import Steering
from sigmafarm_common.store.redis.submitting import Submitting
from sigmafarm_common.store.redis.uploading import Uploading
from sigmafarm_common.store.redis.working import Working

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


def _delegate(part: type[T], method: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[RedisStore, P], R]:
    """Return a method of the store that one of its parts carries out."""

    @wraps(method)
    def call(self: RedisStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self.part(part), *args, **kwargs)

    return call


class RedisStore:
    """The farm's records on one server. See Store for what each method promises, and its part for how."""

    def __init__(
        self,
        config: Config,
        client: Redis | None = None,
        *,
        now_ms: Callable[[], int] | None = None,
        clock: Clock | None = None,
    ):
        self.redis = redis = Keyspace(config, client, now_ms=now_ms)
        #: The connection itself, for those who look at the server.
        self.client: Any = redis.client
        reading, safety = Reading(redis), Safety(redis, clock or SystemClock())
        alone = (part(redis) for part in (LivePreviews, Seats, Keyring, Working, Keeping, Adopting, Uploading))
        parts = (safety, reading, Submitting(redis, reading, safety), Steering(redis, reading), *alone)
        self._parts: dict[type, Any] = {type(part): part for part in parts}

    def part(self, kind: type[T]) -> T:
        """Return the one part of a kind."""
        return self._parts[kind]

    check = _delegate(Safety, Safety.check)

    # -- SubmitSide
    begin_batch = _delegate(Submitting, Submitting.begin_batch)
    add_rows = _delegate(Submitting, Submitting.add_rows)
    seal_batch = _delegate(Submitting, Submitting.seal_batch)
    discard_batch = _delegate(Submitting, Submitting.discard_batch)
    open_jobs = _delegate(Reading, Reading.open_jobs)

    # -- ReadSide
    batch = _delegate(Reading, Reading.batch)
    batches = _delegate(Reading, Reading.batches)
    job = _delegate(Reading, Reading.job)
    jobs = _delegate(Reading, Reading.jobs)
    workers = _delegate(Reading, Reading.workers)
    models = _delegate(Reading, Reading.models)
    queues = _delegate(Reading, Reading.queues)
    events = _delegate(Reading, Reading.events)
    last_events = _delegate(Reading, Reading.last_events)
    failures = _delegate(Reading, Reading.failures)
    held_jobs = _delegate(Reading, Reading.held_jobs)
    pace = _delegate(Reading, Reading.pace)
    totals = _delegate(Reading, Reading.totals)
    rounds = _delegate(Reading, Reading.rounds)
    now_ms = _delegate(Reading, Reading.now_ms)

    # -- SteerSide
    pause_batch = _delegate(Steering, Steering.pause_batch)
    resume_batch = _delegate(Steering, Steering.resume_batch)
    set_priority = _delegate(Steering, Steering.set_priority)
    cancel_batch = _delegate(Steering, Steering.cancel_batch)
    cancel_job = _delegate(Steering, Steering.cancel_job)
    retry_batch = _delegate(Steering, Steering.retry_batch)
    retry_job = _delegate(Steering, Steering.retry_job)
    drain_worker = _delegate(Steering, Steering.drain_worker)

    # -- WatchSide
    want_previews = _delegate(LivePreviews, LivePreviews.want_previews)
    preview = _delegate(LivePreviews, LivePreviews.preview)

    # -- SeatSide
    take_seat = _delegate(Seats, Seats.take_seat)
    leave_seat = _delegate(Seats, Seats.leave_seat)
    num_seats = _delegate(Seats, Seats.num_seats)

    # -- UploadSide
    note_upload = _delegate(Uploading, Uploading.note_upload)
    touch_upload = _delegate(Uploading, Uploading.touch_upload)
    upload = _delegate(Uploading, Uploading.upload)

    # -- KeySide
    add_key = _delegate(Keyring, Keyring.add_key)
    keys = _delegate(Keyring, Keyring.keys)
    key = _delegate(Keyring, Keyring.key)
    revoke_key = _delegate(Keyring, Keyring.revoke_key)
    spend = _delegate(Keyring, Keyring.spend)

    # -- WorkerSide
    register_models = _delegate(Working, Working.register_models)
    claim = _delegate(Working, Working.claim)
    renew = _delegate(Working, Working.renew)
    drops = _delegate(Working, Working.drops)
    finish = _delegate(Working, Working.finish)
    fail = _delegate(Working, Working.fail)
    release = _delegate(Working, Working.release)
    release_worker = _delegate(Working, Working.release_worker)
    forget_worker = _delegate(Working, Working.forget_worker)
    is_drained = _delegate(Working, Working.is_drained)
    are_previews_wanted = _delegate(LivePreviews, LivePreviews.are_previews_wanted)
    show = _delegate(LivePreviews, LivePreviews.show)
    upload_of = _delegate(Uploading, Uploading.upload_of)

    # -- KeeperSide
    lead = _delegate(Keeping, Keeping.lead)
    resign = _delegate(Keeping, Keeping.resign)
    dispatch = _delegate(Keeping, Keeping.dispatch)
    take_back = _delegate(Keeping, Keeping.take_back)
    open_cancels = _delegate(Keeping, Keeping.open_cancels)
    stale_batches = _delegate(Keeping, Keeping.stale_batches)
    mend = _delegate(Keeping, Keeping.mend)
    note_round = _delegate(Keeping, Keeping.note_round)
    server_uptime_s = _delegate(Keeping, Keeping.server_uptime_s)
    forget_batches = _delegate(Keeping, Keeping.forget_batches)

    # -- ConcluderSide
    finished_batches = _delegate(Keeping, Keeping.finished_batches)
    note_manifest = _delegate(Keeping, Keeping.note_manifest)
    due_sweeps = _delegate(Keeping, Keeping.due_sweeps)
    plan_sweep = _delegate(Keeping, Keeping.plan_sweep)
    num_sweeps_planned = _delegate(Keeping, Keeping.num_sweeps_planned)
    drop_uploads = _delegate(Uploading, Uploading.drop_uploads)
    deletions = _delegate(Uploading, Uploading.deletions)
    note_deleted = _delegate(Uploading, Uploading.note_deleted)

    # -- operators
    adopt = _delegate(Adopting, Adopting.adopt)
    drop_entry = _delegate(Keeping, Keeping.drop_entry)
