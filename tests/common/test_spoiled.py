"""One spoiled record stops nobody: a living farm's keys are taken one by one, each is spoiled in every way that it can
be, and the farm goes on. Every other batch is drawn and concluded, lists answer, and the checker names what was
spoiled.

There are 650 cases. A run takes each third of them, from a place that chance gives; `SPOILED=1,0` takes all, and a
failure names the `SPOILED=` that takes the same ones again.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from sigmafarm_common.check import check_farm
from sigmafarm_common.concluder import Concluder
from sigmafarm_common.errors import IllegalTransition
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.keys import KeyRecord, Scope
from sigmafarm_common.manifest import manifest_key
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.records import Batch, ModelCard, Upload
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim, Dispatched, Output, Preview
from tests.common.contracts.uploads import picture
from tests.common.store_contract import CONFIG, FakeMs, claim_all, dispatch, request, submit, worker
from tests.common.test_keeper import FakeClock

PICTURE = b"a picture"
#: Rounds after which everything that can end has ended (most often it is after three), and the seconds between them.
ROUNDS, STEP_S = 8, 10.0
#: Of so many cases a run takes one; and the first that it takes.
EVERY, FIRST = map(int, os.environ.get("SPOILED", f"3,{random.randrange(3)}").split(","))
#: Keys that may be gone at any time; what is lost with them is no record.
OPTIONAL = re.compile(
    r"keeper|watched|rounds|events|totals|pace|draining|clocks|api_keys|models|sweeps|open|open_(jobs|work|bytes)|allowance:.*"
    r"|idempotency:.*|worker:.*:alone|job:.*:(preview|history)|queue:.*/clock|batch:.*:(seats|failures|models)|batches:.*|deletions"
)


class Farm:
    """A farm on which something of every kind has happened, with one worker that draws whatever it is called for."""

    def __init__(self, client: redis.Redis, folder: Path) -> None:
        self.ms, self.clock, self.redis = FakeMs(), FakeClock(), client
        self.store, self.objects = RedisStore(CONFIG, client, now_ms=self.ms), FolderStore(folder)
        self.calls: list[Dispatched] = []
        self.batches = self._lived()
        self._ids = {b.id for b in self.batches}

    def _lived(self) -> list[Batch]:
        store = self.store
        store.register_models([ModelCard(name="m"), ModelCard(name="n")])
        store.add_key(KeyRecord.make(name="k", owner="ann", scopes=frozenset(Scope), now_ms=1)[0])
        store.spend("ann", per_s=1, burst=100)
        store.want_previews()
        ended = submit(store, 3, key="k")
        one, two, three = claim_all(store, dispatch(store, slots=3))
        self.finish(one)
        store.fail(two.job_id, two.fence, code="bad", message="no", retryable=False)
        store.cancel_job(three.job_id)
        lives = submit(store, owner="ben", priority=2, requests=[request("a long prompt " * 9)] * 4)
        one, two, three = claim_all(store, dispatch(store, slots=3))
        store.show([Preview(one.job_id, one.fence, 1, b"webp")])
        store.fail(two.job_id, two.fence, code="oops", message="again", retryable=True)
        dispatch(store, slots=3)
        cancelled = submit(store, 2, owner="zoe")
        store.client.sadd("sigmafarm:cancelling", cancelled.id)  # as after the first piece of a cancel
        store.client.hset(f"sigmafarm:batch:{cancelled.id}", "cancelling", 1)
        other = submit(store, requests=[request(model="n").model_copy(update={"init_image": self.upload("a").name})])
        self.upload("b")
        store.client.sadd("sigmafarm:deletions", f"uploads/{'0' * 16}/{'0' * 64}-01234567.png")
        ticket = store.begin_batch(name="open", owner="ann", priority=0, defaults={}, idempotency_key="dead")
        store.add_rows(ticket.batch_id, [request()])
        store.drain_worker("w1")
        store.drain_worker("w1", is_draining=False)
        store.renew(worker("w2", models=("n",)), [])
        store.drain_worker("w2")
        store.take_seat(ended.id, "s", for_s=1000)
        store.lead("k1", 1000)
        store.note_round()
        return [ended, lives, cancelled, other]

    def upload(self, digit: str) -> Upload:
        made = picture(digit)
        self.objects.put(made.key, b"x" * made.size_bytes, "image/png")
        return self.store.note_upload(made)

    def finish(self, claim: Claim) -> None:
        key = f"{claim.batch_id}/{claim.job_id[-6:]}-f{claim.fence}.png"
        self.objects.put(key, PICTURE, "image/png")
        self.store.finish(claim.job_id, claim.fence, Output(key, hashlib.sha256(PICTURE).hexdigest(), len(PICTURE)))

    def go_on(self) -> Batch:
        """Let a keeper and a worker that know nothing come, somebody submit, and the farm run until all is over."""
        self.calls.clear()
        self.store.resign("k1")
        keeper = Keeper(CONFIG, self.store, self.calls.extend, clock=self.clock)
        concluder = Concluder(CONFIG, self.store, self.objects, keeper)
        self.store.register_models([ModelCard(name="m")])
        witness = submit(self.store, 2, owner="wit", priority=-3)
        for _ in range(ROUNDS):
            self.ms.advance(STEP_S)
            self.clock.now_s += STEP_S
            self.store.renew(worker("new", slots=30, models=("m", "n")), [])
            done = keeper.run_once()
            assert done is not None
            assert done.failed == (), done.failed
            self._draw()
            concluder.run_once()
            if self._is_over(witness):
                break
        return witness

    def _is_over(self, witness: Batch) -> bool:
        """Whether nothing is left to do: every batch has ended, and the newest has its manifest."""
        batches = self.store.batches()
        is_known = {b.id for b in batches} >= {*self._ids, witness.id}
        return is_known and all(b.counts.is_done for b in batches) and self.has_manifest(witness)

    def has_manifest(self, batch: Batch) -> bool:
        return any(o.key == manifest_key(batch.id) for o in self.objects.list())

    def _draw(self) -> None:
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            claim = self.store.claim(call.job_id, "new")
            if claim is not None:
                self.finish(claim)

    def read_all(self) -> list[Batch]:
        """Ask everything that a page or a program may ask, and return the batches."""
        store = self.store
        listed = store.batches()
        for owner in ("ann", "ben", "wit"):
            store.batches(owner=owner)
            store.open_jobs(owner)
        for batch in listed:
            store.failures(batch.id)
            for job in store.jobs(batch.id, limit=100):
                store.preview(job.id)
        for each in (
            store.workers,
            store.models,
            store.queues,
            store.last_events,
            store.pace,
            store.totals,
            store.keys,
        ):
            each()
        store.events(after="0")
        store.held_jobs("w1")
        store.finished_batches()
        return listed

    def check(self) -> list[str]:
        return [str(v) for v in check_farm(CONFIG, self.store, self.objects, pause_s=0).violations]


@pytest.fixture
def farm(redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    monkeypatch.setattr(RedisStore, "server_uptime_s", lambda _self: 1e6)
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # no power fails here
    return Farm(redis_client, tmp_path / "objects")


Spoil = Callable[[Any, str], Iterator[str]]
#: Ways to spoil a key; each yields a word for what was done, once for each place within it.
WAYS: dict[str, Spoil] = {}


def way(spoil: Spoil) -> Spoil:
    WAYS[spoil.__name__] = spoil
    return spoil


@way
def delete(client: Any, key: str) -> Iterator[str]:
    client.delete(key)
    yield "gone"


@way
def another_type(client: Any, key: str) -> Iterator[str]:
    is_text = client.type(key) == "string"
    client.delete(key)
    client.rpush(key, "x") if is_text else client.set(key, "x")
    yield "of another type"


@way
def garbage(client: Any, key: str) -> Iterator[str]:
    texts = ("garbage", "null", "[]", "{}", '{"slots":"x","models":7}')
    match client.type(key):
        case "string":
            for text in texts:
                client.set(key, text)
                yield text
        case "list":
            client.rpush(key, "garbage")
            yield "garbage"
        case "set":
            client.sadd(key, "garbage", "0123456789abcde", "0123456789abcde-000000")
            yield "members"
        case "zset":
            client.zadd(key, {"garbage": 1, "0123456789abcde": 2, "0123456789abcde-000000": 3})
            yield "members"
        case "stream":
            client.xadd(key, {"no": "kind"})
            yield "an entry without a kind"


@way
def a_field_is_missing(client: Any, key: str) -> Iterator[str]:
    for name, value in (client.hgetall(key) if client.type(key) == "hash" else {}).items():
        client.hdel(key, name)
        yield name
        client.hset(key, name, value)


@way
def a_field_is_garbage(client: Any, key: str) -> Iterator[str]:
    for name, value in (client.hgetall(key) if client.type(key) == "hash" else {}).items():
        client.hset(key, name, "garbage")
        yield name
        client.hset(key, name, value)


def cases(farm: Farm, raw: Any, spoil: Spoil) -> Iterator[tuple[str, str]]:
    """Spoil each key in turn, on a farm that is as it was; yield the key's name and what was done. Of the jobs in one
    state of a batch one stands for all, and of what lies within records that are alike, one record's."""
    client = farm.redis
    kept = {key: (value, raw.pttl(key)) for key in raw.keys("*") if (value := raw.dump(key)) is not None}
    ms, files = farm.ms.now_ms, {o.key for o in farm.objects.list()}
    done: set[tuple[tuple[str, ...], str]] = set()
    for kind, key in {_kind(client, key.decode()): key for key in sorted(kept)}.items():
        alike = kind if spoil in (delete, another_type) else _likeness(farm, kind)
        for what in _again(client, spoil, key.decode(), lambda: restore(raw, kept)):
            if (alike, what) in done:
                continue
            done.add((alike, what))
            if len(done) % EVERY != FIRST:
                continue
            farm.ms.now_ms = ms
            yield key.decode().removeprefix("sigmafarm:"), what
            _empty(farm.objects, files)


def _empty(objects: FolderStore, keep: set[str]) -> None:
    """Delete the objects but those to keep, and the folders that nothing is left in: each look walks through all."""
    for found in list(objects.list()):
        if found.key not in keep:
            objects.delete(found.key)
    for folder in objects.folder.iterdir():
        with suppress(OSError):
            folder.rmdir()


def _kind(client: Any, key: str) -> tuple[str, ...]:
    """Return what keys have in common that need to be spoiled only once."""
    job = re.fullmatch(r"(sigmafarm:job:(\w+)-\d{6})(.*)", key)
    return (job[2], job[3], client.hget(job[1], "state")) if job else (key,)


def _likeness(farm: Farm, kind: tuple[str, ...]) -> tuple[str, ...]:
    """Return what kinds have in common of which a field needs to be spoiled only once: the jobs that are over, and all
    of the batches that go on."""
    ended, lives, _, other = (batch.id for batch in farm.batches)
    if kind[0] == ended:
        return ("over", kind[1])
    return tuple(each.replace(other, lives) for each in kind)


def _again(client: Any, spoil: Spoil, key: str, reset: Callable[[], None]) -> Iterator[str]:
    """Run a way of spoiling up to its n-th place, each time on a whole farm."""
    for n in range(100):
        reset()
        places = spoil(client, key)
        for _ in range(n):
            next(places, None)
        what = next(places, None)
        if what is None:
            return
        yield what


def restore(raw: Any, kept: dict[bytes, tuple[bytes, int]]) -> None:
    pipe = raw.pipeline(transaction=True)
    pipe.flushdb()
    for key, (value, ttl_ms) in kept.items():
        pipe.restore(key, max(ttl_ms, 0), value)
    pipe.execute()


def is_its(key: str, batch: Batch) -> bool:
    """Whether a key is the record of a batch: then that batch may be lost, and no other."""
    return key.startswith(f"batch:{batch.id}")


@pytest.mark.parametrize("name", sorted(WAYS))
def test_a_spoiled_key_stops_nobody_and_is_named(farm: Farm, redis_url: str, name: str) -> None:
    broken: list[str] = []

    for key, what in cases(farm, redis.Redis.from_url(redis_url), WAYS[name]):
        try:
            farm.read_all()
            named = farm.check()
            witness = farm.go_on()
            listed = farm.read_all()
        except Exception as error:
            broken.append(f"{key} {what}: {type(error).__name__}: {error}")
            continue
        broken += [f"{key} {what}: {fault}" for fault in faults(farm, key, what, named, witness, listed)]

    assert not broken, f"{len(broken)} cases (SPOILED={EVERY},{FIRST}):\n" + "\n".join(broken[:60])


def faults(farm: Farm, key: str, what: str, named: list[str], witness: Batch, listed: list[Batch]) -> Iterator[str]:
    """Yield what is not as it should be after a key was spoiled and the farm has gone on."""
    counts = farm.store.batch(witness.id).counts
    if counts.succeeded != 2:
        yield f"the witness has {counts}"
    if not farm.has_manifest(witness):
        yield "the witness is not concluded"
    found = {b.id: b for b in listed}
    for batch in farm.batches:
        if is_its(key, batch) or key in ("batches",):
            continue
        if batch.id not in found:
            yield f"batch {farm.batches.index(batch)} is not listed"
        elif not found[batch.id].counts.is_done:
            yield f"batch {farm.batches.index(batch)} is not done: {found[batch.id].counts}"
    is_needed = what != "gone" or not OPTIONAL.fullmatch(key)
    if is_needed and not named and not is_free_text(key, what):
        yield "the checker names nothing"


def is_free_text(key: str, what: str) -> bool:
    """Whether a text may say anything, or not be there, and still be whole."""
    if key.startswith("job:") and ":" not in key[4:]:
        return what in ("worker", "error", "error_code", "token", "image_key", "sha256", "upload", "step", "still")
    if key.startswith("batch:") and ":" not in key[6:]:
        return what in ("name", "key", "owner", "revision", "bytes", "paused", "cancelling", "finished", "written_off")
    return bool(
        re.fullmatch(r"keeper|watched|rounds|allowance:.*|idempotency:.*|worker:.*:alone|queue:.*/clock|.*:seats", key)
    ) or (what in ("null", "[]", "{}") or key.startswith(("totals", "pace", "open_", "batch:", "models", "api_keys")))


def test_jobs_behind_those_without_a_record_are_found(redis_client: redis.Redis) -> None:
    store = RedisStore(CONFIG, redis_client)
    batch = submit(store, 5)
    redis_client.delete(*(f"sigmafarm:job:{batch.id}-{row:06d}" for row in range(3)))

    assert [job.row for job in store.jobs(batch.id, limit=2)] == [3]
    assert [job.row for job in store.jobs(batch.id, after_row=3)] == [4]


def test_job_without_a_record_fails_alone_and_its_batch_ends(farm: Farm) -> None:
    lives = farm.batches[1]
    lost = f"{lives.id}-000003"
    farm.redis.delete(f"sigmafarm:job:{lost}", f"sigmafarm:job:{lost}:request")

    farm.go_on()

    job = farm.store.job(lost)
    assert (job.state, job.error_code) == ("failed", "spoiled_record")
    assert "submit its prompt again" in job.error
    assert farm.store.batch(lives.id).counts.succeeded == 3
    assert farm.store.totals()["spoiled"] == 1
    assert farm.redis.hgetall("sigmafarm:open_work") == {}
    with pytest.raises(IllegalTransition):
        farm.store.retry_job(lost)


def test_cancel_ends_though_an_index_names_jobs_that_are_not_there(redis_client: redis.Redis) -> None:
    store = RedisStore(CONFIG, redis_client)
    batch = submit(store, 2)
    redis_client.zadd(f"sigmafarm:batch:{batch.id}:queued", {"9": 9, "garbage": 10, "-1": 11})
    redis_client.delete(f"sigmafarm:job:{batch.id}-000001")

    store.cancel_batch(batch.id)

    assert store.batch(batch.id).finished_ms > 0
    assert store.job(f"{batch.id}-000000").state == "cancelled"
    assert redis_client.smembers("sigmafarm:cancelling") == set()
