"""The README's table of Redis keys holds every key that the code can write, with the right type, and no other."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import redis

from sigmafarm_common.errors import NotAlone, UnsafeServer
from sigmafarm_common.keys import KeyRecord, Scope
from sigmafarm_common.records import ModelCard
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Preview
from tests.common.contracts.uploads import begun_with, picture
from tests.common.store_contract import CONFIG, FakeMs, claim_all, dispatch, output, request, submit

README = Path(__file__).parents[2] / "common" / "README.md"
#: What TYPE answers for the table's words.
TYPES = {
    "sorted set": "zset",
    "hash": "hash",
    "set": "set",
    "string": "string",
    "list": "list",
    "stream": "stream",
    "any": "any",
}


def table() -> dict[str, str]:
    """The key patterns of the README and the type of each, as TYPE names it."""
    section = README.read_text(encoding="utf-8").split("<!-- redis keys -->")[1].split("<!-- /redis keys -->")[0]
    rows = [line.split("|") for line in section.strip().splitlines()[2:]]
    return {row[1].strip(" `"): TYPES[row[2].strip()] for row in rows}


def built_in_lua() -> set[str]:
    """Every `ns .. 'a:' .. b` in the scripts, with a star for what is filled in."""
    found: set[str] = set()
    for file in (files("sigmafarm_common.store") / "lua").iterdir():
        for expression in re.findall(r"\bns((?: \.\. (?:'[^']*'|#?\w+))+)", file.read_text(encoding="utf-8")):
            parts = expression.removeprefix(" .. ").split(" .. ")
            found.add("".join(p.strip("'") if p.startswith("'") else "*" for p in parts))
    return found - {""}


def built_in_python() -> set[str]:
    """Every `redis.key("a", b)` in the store, with a star for what is filled in."""
    parts_of_store = [f for f in (files("sigmafarm_common.store") / "redis").iterdir() if f.name.endswith(".py")]
    text = "\n".join(part.read_text(encoding="utf-8") for part in parts_of_store)
    calls = re.findall(r"redis\.key\(((?:[^()]|\([^()]*\))*)\)", text)
    parts = [re.split(r", (?![^(]*\))", call) for call in calls]
    return {":".join(p.strip('"') if p.startswith('"') else "*" for p in call) for call in parts}


def test_every_key_that_the_code_builds_stands_in_the_table():
    documented = {re.sub(r"\{\w+\}", "*", pattern) for pattern in table()}

    assert len(built_in_lua()) > 15
    assert built_in_lua() <= documented
    assert len(built_in_python()) > 15
    assert built_in_python() <= documented


@pytest.fixture
def lived(redis_client: redis.Redis) -> redis.Redis:
    """A server on which something of every kind has happened."""
    clock = FakeMs()
    store = RedisStore(CONFIG, redis_client, now_ms=clock)
    store.check()
    store.register_models([ModelCard(name="m")])
    store.lead("k1", 30)
    store.begin_batch(name="open", owner="ann", priority=0, defaults={}, idempotency_key="k")
    batch = submit(store, 5, key="k2")
    submit(store, 1, priority=3, owner="ben")
    one, two, three = claim_all(store, dispatch(store, slots=4)[:3])
    store.finish(one.job_id, one.fence, output(one))
    store.fail(two.job_id, two.fence, code="oops", message="again", retryable=True)
    store.fail(three.job_id, three.fence, code="bad", message="no", retryable=False)
    store.cancel_job(f"{batch.id}-000004")
    store.plan_sweep(batch.id, 60)
    submit(store, 3)
    claim_all(store, dispatch(store, slots=2)[:1])
    store.cancel_batch(submit(store).id)
    many = submit(store, 2)
    redis_client.sadd("sigmafarm:cancelling", many.id)  # as after the first piece of a cancel
    concluded = submit(store, 1)
    store.cancel_batch(concluded.id)
    store.note_manifest(concluded.id, clock.now_ms)
    refuse_one_that_runs_alone(store)
    submit(store)
    shown = claim_all(store, dispatch(store, name="w8", slots=50)[:1], "w8")[0]
    store.show([Preview(shown.job_id, shown.fence, 1, b"webp")])
    store.drain_worker("w8")
    store.want_previews()
    store.take_seat(shown.batch_id, "s", for_s=100)
    store.add_key(KeyRecord.make(name="k", owner="ann", scopes=frozenset(Scope), now_ms=1)[0])
    store.spend("ann", per_s=1, burst=100)
    submit(store, requests=[request("a long prompt " * 5)] * 2)
    submit(store, requests=[request(model="y")] * 2)
    dispatch(store, name="w6", slots=1, models=("y",))  # one of them waits on
    use_uploads(store)
    reuse_one(store)
    store.note_round()
    with pytest.raises(UnsafeServer):  # it has no disk to speak of
        RedisStore(CONFIG.replaced(durable_submit=True), redis_client).wait_for_disk()
    spoil_one(store)
    return redis_client


def reuse_one(store: RedisStore) -> None:
    """Let a picture be there for equal jobs, and one of them wait for another."""
    submit(store, priority=10, owner="zed", requests=[request("equal"), request("other")], reuse=True)
    submit(store, priority=9, owner="zed", requests=[request("other")], reuse=True)
    one, other, equal = dispatch(store, name="w7", slots=50)[:3]
    (claim,) = claim_all(store, [one], "w7")
    store.finish(claim.job_id, claim.fence, replace(output(claim), fingerprint="f"))
    claim_all(store, [other], "w7")
    assert store.claim(equal, "w7") is None
    submit(store)


def use_uploads(store: RedisStore) -> None:
    """Let one picture be used by a batch, one be unused, and one be forgotten."""
    store.note_upload(picture("c"))
    store.redis.client.zadd("sigmafarm:unused_uploads", {f"{'c' * 64}:ann": 1})
    store.drop_uploads()
    submit(store, requests=begun_with(store.note_upload(picture("a"))))
    store.note_upload(picture("b"))


def spoil_one(store: RedisStore) -> None:
    """Let a script meet a key of another type than the farm's."""
    store.client.delete("sigmafarm:clocks")
    store.client.set("sigmafarm:clocks", "a hand's")
    for _ in range(2):  # put aside, and made anew
        batch = submit(store, owner="zoe")
        store.pause_batch(batch.id)
        store.cancel_batch(batch.id)


def refuse_one_that_runs_alone(store: RedisStore) -> None:
    """Let a worker of its own be emptied for a job that was there at two deaths."""
    submit(store, priority=8)
    for _ in range(2):
        claim_all(store, dispatch(store, name="w9", slots=9)[:1], "w9")
        store.release_worker("w9")
    submit(store, priority=9)
    other, poison = dispatch(store, name="w9", slots=9)[:2]
    claim_all(store, [other], "w9")
    with pytest.raises(NotAlone):
        store.claim(poison, "w9")


def test_every_key_of_a_farm_that_has_lived_stands_in_the_table_with_its_type(lived: redis.Redis):
    patterns = {re.compile(re.sub(r"\\\{\w+\\\}", "[^:/]+", re.escape(p)) + "$"): t for p, t in table().items()}
    unseen = dict(patterns)

    for key in lived.keys("*"):  # type: ignore[union-attr]
        name = str(key).removeprefix("sigmafarm:")
        matching = [p for p in patterns if p.match(name)]
        types = {patterns[p] for p in matching}
        assert lived.type(key) in types or "any" in types, (
            f"{name} is a {lived.type(key)}; the table has {types or 'no such key'}"
        )
        for pattern in matching:
            unseen.pop(pattern, None)

    assert not unseen, "the table has keys that nothing wrote"
