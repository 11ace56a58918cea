"""The checker: a healthy farm that has lived through everything gives no violation; then every rule is shown to fire,
by spoiling exactly the thing that it guards, in Redis or in the object store, by hand."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from PIL import Image

from sigmafarm_common.check import Invariant, Rule, Violation, check_farm
from sigmafarm_common.config import Config
from sigmafarm_common.errors import StoreUnavailable
from sigmafarm_common.manifest import write_manifest
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.records import Batch, ModelCard, Upload
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim, Output
from sigmafarm_common.sweep import sweep_batch
from sigmafarm_common.uploads.reading import stored_form
from sigmafarm_common.uploads.storing import link_picture, store_picture
from tests.common.contracts.uploads import begun_with
from tests.common.store_contract import CONFIG, FakeMs, claim_all, dispatch, submit
from tests.ports import free_port

PICTURE = b"a picture"


class Meanwhile:
    """A clock whose wait lets something happen between the two looks."""

    def __init__(self, happens: Callable[[], object] = lambda: None):
        self._happens = happens

    def monotonic_s(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self._happens()
        return False


@dataclass
class Lived:
    """A farm on which everything has happened, and what the tests spoil of it."""

    store: RedisStore
    objects: FolderStore
    redis: redis.Redis
    clock: FakeMs
    #: Ended: row 0 succeeded at the second try, row 1 failed, row 2 cancelled; concluded, with a manifest.
    ended: Batch
    #: Open: row 0 running, row 1 dispatched, row 2 delayed, rows 3 and up ready.
    open: Batch
    #: All ready, and paused.
    paused: Batch

    def check(self, *, config: Config = CONFIG, happens: Callable[[], object] = lambda: None, **flags: Any):
        settings: dict[str, Any] = {"pause_s": 0, "clock": Meanwhile(happens), **flags}
        return check_farm(config, self.store, self.objects, **settings).violations

    def key(self, *parts: str) -> str:
        return ":".join(("sigmafarm", *parts))

    def job(self, row: int, batch: Batch | None = None) -> str:
        return f"{(batch or self.open).id}-{row:06d}"

    def hset(self, row: int, field: str, value: object, batch: Batch | None = None) -> None:
        self.redis.hset(self.key("job", self.job(row, batch)), field, str(value))

    def picture(self, row: int = 0) -> str:
        return self.store.job(self.job(row, self.ended)).image_key


def finish(store: RedisStore, objects: ObjectStore, claim: Claim) -> None:
    key = f"{claim.batch_id}/{claim.job_id[-6:]}-f{claim.fence}.png"
    objects.put(key, PICTURE, "image/png")
    assert store.finish(claim.job_id, claim.fence, Output(key, hashlib.sha256(PICTURE).hexdigest(), len(PICTURE)))


def conclude(store: RedisStore, objects: ObjectStore, batch: Batch) -> None:
    """What the keeper does with a batch that came to its end."""
    sweep_batch(store, objects, batch.id)
    store.note_manifest(batch.id, write_manifest(store, objects, batch.id).finished_ms)


def end_a_batch(store: RedisStore, objects: FolderStore, clock: FakeMs) -> Batch:
    """A batch of three that sees a lost worker, a refused finish, errors, a cancel, a retry and its end."""
    batch = submit(store, 3, key="k")
    first, second = claim_all(store, dispatch(store, slots=2))
    objects.put(f"{batch.id}/000000-f1.png", PICTURE, "image/png")
    assert store.release_worker("w1") == [first.job_id, second.job_id]
    assert not store.finish(first.job_id, first.fence, Output("late", "", 0))
    first, second, third = claim_all(store, dispatch(store, slots=3))
    finish(store, objects, first)
    assert store.fail(second.job_id, second.fence, code="oops", message="again", retryable=True) is JobState.QUEUED
    assert store.fail(third.job_id, third.fence, code="bad", message="no", retryable=False) is JobState.FAILED
    clock.advance(60)
    store.take_back()
    (second,) = claim_all(store, dispatch(store, slots=3))
    assert store.fail(second.job_id, second.fence, code="bad", message="no", retryable=False) is JobState.FAILED
    conclude(store, objects, batch)
    assert store.retry_batch(batch.id) == 2
    store.cancel_job(third.job_id)
    (second,) = claim_all(store, dispatch(store, slots=3))
    assert store.fail(second.job_id, second.fence, code="bad", message="no", retryable=False) is JobState.FAILED
    conclude(store, objects, batch)
    return store.batch(batch.id)


def open_a_batch(store: RedisStore, clock: FakeMs) -> Batch:
    """A batch whose jobs stand in every place where an open job can stand."""
    batch = submit(store, 6, owner="ann:x", priority=5)
    (third,) = claim_all(store, dispatch(store, slots=1))
    store.release(third.job_id, third.fence)
    one, two, three = dispatch(store, slots=3)
    claims = claim_all(store, [one, three])
    store.fail(claims[1].job_id, claims[1].fence, code="oops", message="again", retryable=True)
    assert (one, two, three) == tuple(f"{batch.id}-{row:06d}" for row in range(3))
    return batch


def begin_with_pictures(store: RedisStore, objects: FolderStore) -> None:
    """A paused batch that draws from an uploaded picture and from a job's, and an upload that nobody uses."""
    used, unused = (store_picture(store, objects, "eve", stored_form(Image.new("RGB", (8, n)))).upload for n in (8, 9))
    assert unused.num_batches == 0
    drawn = submit(store, owner="eve", priority=9)
    finish(store, objects, claim_all(store, dispatch(store, slots=1))[0])
    conclude(store, objects, drawn)
    linked = link_picture(store, objects, "eve", store.job(f"{drawn.id}-000000"))
    batch = submit(store, owner="eve", requests=begun_with(used, linked))
    store.pause_batch(batch.id)


def empty_batch(store: RedisStore) -> Batch:
    return store.seal_batch(store.begin_batch(name="empty", owner="ann", priority=0, defaults={}).batch_id)


@pytest.fixture
def lived(redis_client: redis.Redis, tmp_path: Path) -> Lived:
    clock = FakeMs()
    store, objects = RedisStore(CONFIG, redis_client, now_ms=clock), FolderStore(tmp_path / "objects")
    store.register_models([ModelCard(name="m")])
    store.lead("k1", 30)
    ended = end_a_batch(store, objects, clock)
    cancelled = submit(store, 2)
    claim_all(store, dispatch(store, slots=1))
    store.cancel_batch(cancelled.id)
    conclude(store, objects, cancelled)
    conclude(store, objects, empty_batch(store))
    paused = submit(store, 2, owner="ben")
    store.pause_batch(paused.id)
    store.set_priority(paused.id, 3)
    begin_with_pictures(store, objects)
    ticket = store.begin_batch(name="open", owner="ann", priority=0, defaults={})
    store.begin_batch(name="discarded", owner="ann", priority=0, defaults={}, idempotency_key="d")
    assert ticket.is_new
    return Lived(store, objects, redis_client, clock, ended, open_a_batch(store, clock), paused)


def test_a_farm_that_has_lived_through_everything_is_clean(lived: Lived):
    assert lived.check(is_deep=True) == ()


def test_a_farm_that_came_to_its_end_is_clean_at_the_last_check(lived: Lived):
    for batch in [b for b in lived.store.batches() if not b.counts.is_done]:
        lived.store.cancel_batch(batch.id)
        conclude(lived.store, lived.objects, batch)

    assert lived.check(is_final=True, is_deep=True) == ()


def test_an_empty_farm_is_clean(redis_client: redis.Redis, tmp_path: Path):
    store, objects = RedisStore(CONFIG, redis_client), FolderStore(tmp_path / "none")

    report = check_farm(CONFIG, store, objects, is_final=True, pause_s=0)

    assert (report.is_clean, report.num_batches, report.num_jobs) == (True, 0, 0)


# -- every rule, spoiled by hand


@dataclass(frozen=True)
class Spoiled:
    """One thing spoiled: the rule that must fire, and what the violation's subject and message hold."""

    rule: Rule
    words: tuple[str, ...]
    do: Callable[[Lived], object]
    flags: dict[str, bool] = field(default_factory=dict)


SPOILED: list[Spoiled] = []


def spoils(rule: Rule, *words: str, **flags: bool) -> Callable[[Callable[[Lived], object]], Callable[[Lived], object]]:
    def note(do: Callable[[Lived], object]) -> Callable[[Lived], object]:
        SPOILED.append(Spoiled(rule, words, do, flags))
        return do

    return note


def xadd(f: Lived, kind: str, job_id: str) -> None:
    f.redis.xadd(f.key("events"), {"kind": kind, "batch": job_id[:15], "job": job_id})


@spoils(Rule.UNFINISHED, "{open}-000000", "is running: it never reached an end", is_final=True)
def a_job_that_is_open_at_the_end(f: Lived):
    f.store.cancel_batch(f.paused.id)
    for row in range(1, 6):
        f.store.cancel_job(f.job(row))


@spoils(Rule.SUCCEEDED_TWICE, "{ended}-000000", "says job.succeeded")
def a_second_success(f: Lived):
    xadd(f, "job.succeeded", f.job(0, f.ended))


@spoils(Rule.EVENT_AFTER_END, "{ended}-000000", "says job.queued")
def an_event_after_the_end(f: Lived):
    xadd(f, "job.queued", f.job(0, f.ended))


@spoils(Rule.SUCCESS_UNDONE, "{ended}-000001", "had succeeded, and is failed now")
def a_success_that_is_none_any_more(f: Lived):
    xadd(f, "job.succeeded", f.job(1, f.ended))


@spoils(Rule.WRONG_PICTURE, "{ended}-000000", "its fence 7", "submit its prompt and seed again")
def a_picture_of_another_try(f: Lived):
    f.hset(0, "fence", 7, f.ended)


@spoils(Rule.WRONG_PICTURE, "{ended}-000000", "the picture 'elsewhere/x.png'")
def a_picture_of_another_place(f: Lived):
    f.objects.put("elsewhere/x.png", PICTURE, "image/png")
    f.objects.delete(f.picture())
    f.hset(0, "image_key", "elsewhere/x.png", f.ended)


@spoils(Rule.WRONG_PICTURE, "{ended}-000000", "SHA-256 ''")
def a_picture_without_a_checksum(f: Lived):
    f.hset(0, "sha256", "", f.ended)


@spoils(Rule.PICTURE_MISSING, "{ended}-000000", "is not in the object store")
def a_picture_that_is_gone(f: Lived):
    f.objects.delete(f.picture())


@spoils(Rule.PICTURE_SIZE, "{ended}-000000", "recorded 9 bytes", "which has 3")
def a_picture_that_was_cut_off(f: Lived):
    f.objects.put(f.picture(), b"a p", "image/png")


@spoils(Rule.PICTURE_SHA256, "{ended}-000000", "whose bytes have", is_deep=True)
def a_picture_of_the_right_size_with_other_bytes(f: Lived):
    f.objects.put(f.picture(), b"A PICTURE", "image/png")


@spoils(Rule.ORPHAN, "{ended}/000000-f1.png", "is not the picture of job {ended}-000000", "sigmafarm sweep --delete")
def a_picture_of_a_lost_try(f: Lived):
    f.objects.put(f"{f.ended.id}/000000-f1.png", PICTURE, "image/png")


@spoils(Rule.ORPHAN, "{ended}/000001-f2.webp", "which is failed")
def a_picture_of_a_failed_job(f: Lived):
    f.objects.put(f"{f.ended.id}/000001-f2.webp", PICTURE, "image/webp")


@spoils(Rule.ORPHAN, "{ended}/000077-f1.png", "is of a row that batch {ended} does not have")
def a_picture_of_a_row_that_is_none(f: Lived):
    f.objects.put(f"{f.ended.id}/000077-f1.png", PICTURE, "image/png")


@spoils(Rule.ORPHAN, "0123456789abcde/000000-f1.png", "belongs to no batch")
def a_picture_of_no_batch(f: Lived):
    f.objects.put("0123456789abcde/000000-f1.png", PICTURE, "image/png")


@spoils(Rule.ORPHAN, "{ended}/notes.txt", "has no name that the farm gives: move it elsewhere")
def an_object_of_another_kind(f: Lived):
    f.objects.put(f"{f.ended.id}/notes.txt", b"hello", "text/plain")


@spoils(Rule.ORPHAN, "check-" + "0" * 32, "is a probe that was never removed")
def a_probe_that_was_left(f: Lived):
    f.objects.put("check-" + "0" * 32, b"sigmafarm", "text/plain")


@spoils(Rule.ORPHAN, "{open}/000002-f1.png", "which is queued", is_final=True)
def a_picture_that_waits_for_the_next_sweep_at_the_end(f: Lived):
    f.objects.put(f"{f.open.id}/000002-f1.png", PICTURE, "image/png")


@spoils(Rule.MANIFEST_MISSING, "{ended}", "has no manifest")
def a_manifest_that_is_gone(f: Lived):
    f.objects.delete(f"{f.ended.id}/manifest.jsonl")


@spoils(Rule.COUNTS, "{ended}", "counts 2 succeeded (its index holds 1)")
def a_counter_that_ran_ahead(f: Lived):
    f.redis.hincrby(f.key("batch", f.ended.id), "succeeded", 1)


@spoils(Rule.COUNTS, "{ended}", "counts 0 failed (its index holds 1)")
def a_counter_that_is_no_number(f: Lived):
    f.redis.hset(f.key("batch", f.ended.id), "failed", "many")


@spoils(Rule.COUNTS, "{ended}", "counts 3 jobs in 2 rows")
def a_row_too_few(f: Lived):
    f.redis.hset(f.key("batch", f.ended.id), "rows", 2)


@spoils(Rule.INDEX, "{open}-000004", "is queued, and stands in the index of none", "sigmafarm retry {open}-000004")
def a_row_that_fell_out_of_its_index(f: Lived):
    f.redis.zrem(f.key("batch", f.open.id, "queued"), 4)


@spoils(Rule.INDEX, "{open}-000004", "stands in the index of failed and queued")
def a_row_in_two_indexes(f: Lived):
    f.redis.zadd(f.key("batch", f.open.id, "failed"), {"4": 4})


@spoils(Rule.RECORD, "{open}-000004", "has no record")
def a_job_without_a_record(f: Lived):
    f.redis.delete(f.key("job", f.job(4)))


@spoils(Rule.RECORD, "{open}-000004", "says that it is row '3'")
def a_job_under_anothers_name(f: Lived):
    f.hset(4, "row", 3)


@spoils(Rule.RECORD, "{open}-000004", "'asleep', which is no state")
def a_job_in_no_state(f: Lived):
    f.hset(4, "state", "asleep")


@spoils(Rule.RECORD, "{open}-000004", "has lost its request")
def a_job_without_a_request(f: Lived):
    f.redis.delete(f.key("job", f.job(4), "request"))


@spoils(Rule.WAITING, "{open}-000004", "waits nowhere")
def a_queued_job_that_nobody_will_dispatch(f: Lived):
    f.redis.zrem(f.key("batch", f.open.id, "ready", "m"), 4)


@spoils(Rule.WAITING, "{open}-000001", "waits ready for m and dispatched to m")
def a_job_that_would_be_dispatched_twice(f: Lived):
    f.redis.zadd(f.key("batch", f.open.id, "ready", "m"), {"1": 1})


@spoils(Rule.WAITING, "{open}-000001", "dispatched to m and delayed")
def a_dispatched_job_that_is_delayed(f: Lived):
    f.redis.zadd(f.key("delayed"), {f.job(1): f.clock.now_ms})


@spoils(Rule.STALE_READY, "{open}-000000", "is running with model m, and stands ready for m")
def a_running_job_that_would_be_dispatched(f: Lived):
    f.redis.zadd(f.key("batch", f.open.id, "ready", "m"), {"0": 0})


@spoils(Rule.RUNNING, "{open}-000000", "lacks a lease for m")
def a_running_job_that_nobody_will_take_back(f: Lived):
    f.redis.zrem(f.key("leases", "m"), f.job(0))


@spoils(Rule.RUNNING, "{open}-000000", "lacks a place in the hands of w1")
def a_running_job_in_nobodys_hands(f: Lived):
    f.redis.srem(f.key("worker", "w1", "jobs"), f.job(0))


@spoils(Rule.RUNNING, "{open}-000000", "lacks a fence")
def a_running_job_without_a_fence(f: Lived):
    f.hset(0, "fence", 0)


@spoils(Rule.RUNNING, "{open}-000000", "lacks a worker")
def a_running_job_without_a_worker(f: Lived):
    f.redis.hdel(f.key("job", f.job(0)), "worker")
    f.redis.delete(f.key("worker", "w1", "jobs"))


@spoils(Rule.STALE_ENTRY, "leases m {ended}-000001", "is failed for m", "sigmafarm sweep --delete")
def a_lease_of_a_job_that_ended(f: Lived):
    f.redis.zadd(f.key("leases", "m"), {f.job(1, f.ended): f.clock.now_ms})


@spoils(Rule.STALE_ENTRY, "leases other {open}-000000", "is running for m")
def a_lease_under_another_model(f: Lived):
    f.redis.zadd(f.key("leases", "other"), {f.job(0): f.clock.now_ms})


@spoils(Rule.STALE_ENTRY, "held w2 {open}-000000", "held by w1")
def a_job_in_the_hands_of_two(f: Lived):
    f.redis.sadd(f.key("worker", "w2", "jobs"), f.job(0))


@spoils(Rule.STALE_ENTRY, "dispatched m {open}-000000", "is running for m")
def a_running_job_that_is_dispatched(f: Lived):
    f.redis.zadd(f.key("dispatched", "m"), {f.job(0): f.clock.now_ms})


@spoils(Rule.STALE_ENTRY, "dispatched m ghost", "does not exist")
def a_ghost_that_is_dispatched(f: Lived):
    f.redis.zadd(f.key("dispatched", "m"), {"ghost": f.clock.now_ms})


@spoils(Rule.STALE_ENTRY, "delayed {ended}-000000", "is succeeded")
def a_delayed_job_that_ended(f: Lived):
    f.redis.zadd(f.key("delayed"), {f.job(0, f.ended): f.clock.now_ms})


@spoils(Rule.NOT_LINKED, "{open} in m", "has 3 jobs ready for m", "sigmafarm pause {open}")
def a_batch_that_fell_out_of_the_queue(f: Lived):
    f.redis.delete(f.key("queue", "m", "5", "ann:x"))
    f.redis.zrem(f.key("queue", "m", "5"), "ann:x")
    f.redis.zrem(f.key("queue", "m"), "5")


@spoils(Rule.NOT_LINKED, "{open} in m", "the queue does not lead to them")
def a_model_that_the_keeper_does_not_look_at(f: Lived):
    f.redis.srem(f.key("queue_models"), "m")


@spoils(Rule.WRONGLY_LINKED, "{paused} in m", "is paused", "sigmafarm resume {paused}")
def a_paused_batch_that_would_be_dispatched(f: Lived):
    f.redis.zadd(f.key("queue", "m"), {"3": -3})
    f.redis.zadd(f.key("queue", "m", "3"), {"ben": 0})
    f.redis.zadd(f.key("queue", "m", "3", "ben"), {f.paused.id: 0})


@spoils(Rule.WRONGLY_LINKED, "{ended} in m", "has no job ready for it", "sigmafarm pause {ended}")
def an_ended_batch_in_the_queue(f: Lived):
    f.redis.zadd(f.key("queue", "m"), {"0": 0})
    f.redis.zadd(f.key("queue", "m", "0"), {"ann": 0})
    f.redis.zadd(f.key("queue", "m", "0", "ann"), {f.ended.id: 0})


@spoils(Rule.WRONGLY_LINKED, "m 5 ben {open}", "the batch has priority 5 and owner 'ann:x'")
def a_batch_under_another_owner(f: Lived):
    f.redis.zadd(f.key("queue", "m", "5"), {"ben": 0})
    f.redis.zadd(f.key("queue", "m", "5", "ben"), {f.open.id: 0})


@spoils(Rule.WRONGLY_LINKED, "m 5 ann:x 0123456789abcde", "the batch is gone")
def a_batch_in_the_queue_that_does_not_exist(f: Lived):
    f.redis.zadd(f.key("queue", "m", "5", "ann:x"), {"0123456789abcde": 0})


@spoils(Rule.WRONGLY_LINKED, "m 5 zoe", "where nothing waits")
def an_owner_in_the_queue_without_a_batch(f: Lived):
    f.redis.zadd(f.key("queue", "m", "5"), {"zoe": 0})


@spoils(Rule.WRONGLY_LINKED, "m 9", "where nothing waits: remove it from Redis, ZREM queue:m 9 behind")
def a_priority_in_the_queue_without_an_owner(f: Lived):
    f.redis.zadd(f.key("queue", "m"), {"9": -9})


@spoils(Rule.END_TIME, "{ended}", "is over, and has no time of its end")
def an_end_without_a_time(f: Lived):
    f.redis.hdel(f.key("batch", f.ended.id), "finished")


@spoils(Rule.END_TIME, "{open}", "has an end, and jobs that are open")
def a_time_without_an_end(f: Lived):
    f.redis.hset(f.key("batch", f.open.id), "finished", 1)


@spoils(Rule.NOT_DUE, "{open}", "waits for its manifest, and has jobs that are open")
def a_manifest_that_is_due_too_early(f: Lived):
    f.redis.zadd(f.key("finished"), {f.open.id: 1})


@spoils(Rule.EXPIRES_OPEN, "{open}", "would be forgotten with the jobs of it that are open", "ZREM concluded {open}")
def an_open_batch_that_would_be_forgotten(f: Lived):
    f.redis.zadd(f.key("concluded"), {f.open.id: 1})


@spoils(Rule.NOT_DUE, "finished 0123456789abcde", "is no accepted batch")
def a_manifest_of_no_batch(f: Lived):
    f.redis.zadd(f.key("finished"), {"0123456789abcde": 1})


@spoils(Rule.BATCH_SUMS, "{ended}", "says that work of 5 is open, and is over")
def a_batch_that_ended_with_work_left(f: Lived):
    f.redis.hset(f.key("batch", f.ended.id), "open:m", "5")


@spoils(Rule.BATCH_SUMS, "{open}", "is open, and says work of 0")
def an_open_batch_without_work(f: Lived):
    f.redis.hdel(f.key("batch", f.open.id), "open:m")


@spoils(Rule.BATCH_SUMS, "{ended}", "counts 0 failures by reason (its index holds 1)")
def a_failure_without_a_reason(f: Lived):
    f.redis.delete(f.key("batch", f.ended.id, "failures"))


@spoils(Rule.FARM_SUMS, "open_jobs ghost", "is 3 at the end", "HDEL open_jobs ghost", is_final=True)
def work_of_an_owner_who_has_none(f: Lived):
    f.redis.hset(f.key("open_jobs"), "ghost", "3")


def uploaded(f: Lived, *, is_used: bool = True) -> Upload:
    """The picture that batches of eve draw from, or the one that none does."""
    names = [key.split(":")[2] for key in f.redis.keys("sigmafarm:upload:*")]
    (found,) = [
        u for u in (f.store.upload("eve", n) for n in names) if not u.is_linked and bool(u.num_batches) is is_used
    ]
    return found


@spoils(Rule.UPLOAD_MISSING, "{used}:eve", "is not in the object store", "upload the same file again")
def an_upload_that_was_removed(f: Lived):
    f.objects.delete(uploaded(f).key)


@spoils(Rule.UPLOAD_MISSING, "{used}:eve", "has 3 bytes at uploads/")
def an_upload_that_was_cut_off(f: Lived):
    f.objects.put(uploaded(f).key, b"png", "image/png")


@spoils(Rule.UPLOAD_MISSING, "{used}:eve", "has bytes with SHA-256", is_deep=True)
def an_upload_of_other_bytes(f: Lived):
    upload = uploaded(f)
    f.objects.put(upload.key, b"x" * upload.size_bytes, "image/png")


@spoils(Rule.UPLOAD_USE, "{used}:eve", "has no record", "names it: upload it again")
def an_upload_without_a_record(f: Lived):
    f.redis.delete(f.key("upload", uploaded(f).sha256, "eve"))


@spoils(Rule.UPLOAD_USE, "{used}:eve", "do not name each other: SADD upload_batches:")
def a_use_that_is_not_noted(f: Lived):
    f.redis.delete(f.key("upload_batches", uploaded(f).sha256, "eve"))


@spoils(Rule.UPLOAD_USE, "{used}:eve", "waits to be removed, and is used")
def an_upload_in_use_that_would_be_removed(f: Lived):
    f.redis.zadd(f.key("unused_uploads"), {f"{uploaded(f).sha256}:eve": 1})


@spoils(Rule.UPLOAD_USE, "{unused}:eve", "is used by nobody, and does not wait to be removed")
def an_upload_that_would_stay_for_ever(f: Lived):
    f.redis.delete(f.key("unused_uploads"))


@spoils(Rule.SPOILED, "{used}:eve", "has width 'wide', which is no number")
def an_upload_whose_width_is_no_number(f: Lived):
    f.redis.hset(f.key("upload", uploaded(f).sha256, "eve"), "width", "wide")


@spoils(Rule.SPOILED, "deletions batch/picture.png", "is no key of an upload", "nothing is removed")
def an_object_of_another_kind_that_would_be_removed(f: Lived):
    f.redis.sadd(f.key("deletions"), "batch/picture.png")


@spoils(Rule.UPLOAD_SUMS, "upload_bytes eve", "is 5, and its uploads have", "HSET upload_bytes eve")
def bytes_of_uploads_that_do_not_add_up(f: Lived):
    f.redis.hset(f.key("upload_bytes"), "eve", 5)


@spoils(Rule.ORPHAN, "uploads/0123456789abcdef/{zeros}-01234567.png", "no record names", "`sigmafarm sweep --delete`")
def an_upload_that_nobody_recorded(f: Lived):
    key = f"uploads/0123456789abcdef/{'0' * 64}-01234567.png"
    f.objects.put(key, b"png", "image/png")
    os.utime(f.objects.folder / key, (1, 1))


@spoils(Rule.SPOILED, "totals", "is a string and must be a hash")
def a_key_of_another_type(f: Lived):
    f.redis.delete(f.key("totals"))
    f.redis.set(f.key("totals"), "text")


@spoils(Rule.SPOILED, "spoiled:clocks", "was put aside because it was of a wrong type (string)")
def a_key_that_was_put_aside(f: Lived):
    f.redis.set(f.key("spoiled", "clocks"), "text")


@spoils(Rule.SPOILED, "worker w1", "cannot be read ('null')")
def a_worker_that_says_nothing(f: Lived):
    f.redis.set(f.key("worker", "w1"), "null")


@spoils(Rule.SPOILED, "models m", "cannot be read ('[]')")
def a_model_card_that_is_none(f: Lived):
    f.redis.hset(f.key("models"), "m", "[]")


@spoils(Rule.SPOILED, "open_jobs ann", "is 'many' and must be a whole number")
def a_sum_that_is_no_number(f: Lived):
    f.redis.hset(f.key("open_jobs"), "ann", "many")


@spoils(Rule.SPOILED, "events 9999999999999-0", "has no kind")
def an_event_of_nothing(f: Lived):
    f.redis.xadd(f.key("events"), {"no": "kind"}, id="9999999999999-0")


@spoils(Rule.RECORD, "{open}", "has priority 'high', which is no number")
def a_batch_whose_priority_is_no_number(f: Lived):
    f.redis.hset(f.key("batch", f.open.id), "priority", "high")


@spoils(Rule.RECORD, "{open}", "says that it is 'none'")
def a_batch_without_a_phase(f: Lived):
    f.redis.hset(f.key("batch", f.open.id), "phase", "none")


@spoils(Rule.RECORD, "{open}-000003", "has a request that cannot be read")
def a_request_that_is_none(f: Lived):
    f.redis.set(f.key("job", f.job(3), "request"), "{}")


@spoils(Rule.RECORD, "{ended}-000001", "has tries in its history that cannot be read")
def a_history_that_is_none(f: Lived):
    f.redis.rpush(f.key("job", f.job(1, f.ended), "history"), "garbage")


@spoils(Rule.RECORD, "{open}-000004", "has no model")
def a_job_without_a_model(f: Lived):
    f.redis.hdel(f.key("job", f.job(4)), "model")


@spoils(Rule.LISTED, "{ended}", "`sigmafarm status` does not list it")
def a_batch_that_its_owner_does_not_find(f: Lived):
    f.redis.zrem(f.key("batches", f.ended.owner), f.ended.id)


@spoils(Rule.LISTED, "{open}", "`sigmafarm status` does not list it")
def an_accepted_batch_that_is_not_listed(f: Lived):
    f.redis.zrem(f.key("batches"), f.open.id)


@spoils(Rule.LISTED, "batches 0123456789abcde", "is listed, and is no accepted batch")
def a_listed_batch_that_does_not_exist(f: Lived):
    f.redis.zadd(f.key("batches"), {"0123456789abcde": 1})


@spoils(Rule.LISTED, "open {open}", "is accepted already")
def an_accepted_batch_that_would_be_discarded(f: Lived):
    f.redis.zadd(f.key("open"), {f.open.id: 1})


@spoils(Rule.CANCELLING, "{open}", "the keeper does not go on with it", "sigmafarm cancel {open}")
def a_cancel_that_nobody_goes_on_with(f: Lived):
    f.store.pause_batch(f.open.id)
    f.redis.hset(f.key("batch", f.open.id), "cancelling", 1)


@spoils(Rule.CANCELLING, "cancelling 0123456789abcde", "no accepted batch: remove it", "SREM cancelling")
def a_cancel_of_no_batch(f: Lived):
    f.redis.sadd(f.key("cancelling"), "0123456789abcde")


@spoils(Rule.ATTEMPTS, "{ended}-000001", "counts 4 attempts, and SIGMAFARM_MAX_ATTEMPTS is 3")
def a_try_too_many(f: Lived):
    f.hset(1, "attempts", 4, f.ended)


@spoils(Rule.LOSSES, "{open}-000004", "counts 4 losses, and SIGMAFARM_MAX_LOSSES is 3")
def a_death_too_many(f: Lived):
    f.hset(4, "losses", 4)


@pytest.mark.parametrize("spoiled", SPOILED, ids=lambda s: s.do.__name__)
def test_rule_fires(lived: Lived, spoiled: Spoiled):
    names = {"ended": lived.ended.id, "open": lived.open.id, "paused": lived.paused.id, "zeros": "0" * 64}
    names |= {"used": uploaded(lived).sha256, "unused": uploaded(lived, is_used=False).sha256}
    subject, *words = (word.format(**names) for word in spoiled.words)
    spoiled.do(lived)

    found = lived.check(**spoiled.flags)

    assert (spoiled.rule, subject) in {v.identity for v in found}, found
    (violation,) = [v for v in found if v.identity == (spoiled.rule, subject)]
    assert all(word in violation.message for word in words), violation.message


def test_every_rule_has_been_seen_to_fire_and_every_invariant_has_rules():
    assert {s.rule for s in SPOILED} == set(Rule)
    assert {rule.invariant for rule in Rule} == set(Invariant)


# -- a farm that lives


def test_what_is_mended_before_the_second_look_is_not_reported(lived: Lived):
    key = lived.picture()
    lived.objects.delete(key)

    assert lived.check(happens=lambda: lived.objects.put(key, PICTURE, "image/png")) == ()


def test_what_comes_up_between_the_looks_needs_two_looks_of_its_own(lived: Lived):
    lived.hset(4, "losses", 4)

    found = lived.check(happens=lambda: lived.hset(3, "losses", 4))

    assert [v.subject for v in found] == [lived.job(4)]


def test_a_picture_that_waits_for_the_sweep_of_its_batch_is_no_violation(lived: Lived):
    lived.objects.put(f"{lived.open.id}/000002-f1.png", PICTURE, "image/png")

    assert lived.check() == ()


def test_the_picture_of_a_try_that_runs_is_no_orphan(lived: Lived):
    fence = lived.store.job(lived.job(0)).fence
    lived.objects.put(f"{lived.open.id}/000000-f{fence}.png", PICTURE, "image/png")

    found = lived.check(is_final=True)

    assert Rule.ORPHAN not in {v.rule for v in found}


def test_a_folder_whose_record_has_expired_explains_itself(lived: Lived):
    for name in ("000000-f1.png", "manifest.jsonl"):
        lived.objects.put(f"0123456789abcde/{name}", PICTURE, "image/png")
    lived.objects.put("somebody/elses.txt", PICTURE, "text/plain")

    assert lived.check(is_final=False) == ()


def test_without_an_object_store_only_records_are_looked_at(lived: Lived):
    lived.objects.delete(lived.picture())
    lived.hset(4, "losses", 4)

    report = check_farm(CONFIG, lived.store, None, pause_s=0)

    assert [v.rule for v in report.violations] == [Rule.LOSSES]


def test_violations_come_in_the_order_of_the_invariants(lived: Lived):
    lived.hset(4, "losses", 4)
    lived.redis.zrem(lived.key("batch", lived.open.id, "ready", "m"), 5)
    lived.objects.delete(lived.picture())

    found: tuple[Violation, ...] = lived.check()

    assert [v.invariant for v in found] == ["I4", "I5", "I6"]
    assert str(found[2]).startswith(f"I6 losses: job {lived.job(4)} counts 4 losses")


def test_a_batch_of_many_pages_is_read_whole(lived: Lived):
    batch = submit(lived.store, 700)
    lived.hset(699, "losses", 9, batch)
    told: list[tuple[int, int]] = []

    report = check_farm(CONFIG, lived.store, lived.objects, pause_s=0, on_batch=lambda *seen: told.append(seen))

    assert [v.subject for v in report.violations] == [f"{batch.id}-000699"]
    assert report.num_jobs == 700 + 3 + 2 + 2 + 1 + 2 + 6
    assert told[-1][0] == told[-1][1]


def test_a_store_out_of_reach_is_said_in_the_farms_words(tmp_path: Path):
    config = Config(redis_url=f"redis://127.0.0.1:{free_port()}/0", redis_timeout_s=0.5)

    with pytest.raises(StoreUnavailable, match="Redis is out of reach"):
        check_farm(config, RedisStore(config), FolderStore(tmp_path), pause_s=0)
