"""The farm's sweep: what no record names goes once it is old; what is young, recorded, running or explained stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis

from sigmafarm_common.check import check_farm
from sigmafarm_common.errors import Conflict
from sigmafarm_common.farm_sweep import find_leftovers, remove_leftovers
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.objects.protocol import ObjectInfo
from sigmafarm_common.objects.s3 import S3Store
from sigmafarm_common.store.redis_store import RedisStore
from tests.common.contracts.uploads import picture
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.common.store_contract import CONFIG, FakeMs, claim_all, dispatch, submit
from tests.common.test_check import conclude, finish

HOUR_S = 3600


class Swept:
    """A farm with a succeeded, a running and a queued job, and a sweep of it."""

    def __init__(self, client: redis.Redis, folder: Path):
        self.redis, self.clock = client, FakeMs()
        self.store, self.objects = RedisStore(CONFIG, client, now_ms=self.clock), FolderStore(folder)
        self.batch = submit(self.store, 3)
        done, self.running = claim_all(self.store, dispatch(self.store, slots=2))
        finish(self.store, self.objects, done)

    def job(self, row: int) -> str:
        return f"{self.batch.id}-{row:06d}"

    def put(self, key: str, *, age_s: float = 2 * HOUR_S) -> str:
        """Put an object of an age."""
        self.objects.put(key, b"picture", "image/png")
        path = self.objects.folder / key
        changed_s = path.stat().st_mtime - age_s
        os.utime(path, (changed_s, changed_s))
        return key

    def sweep(self, older_than_s: float = HOUR_S) -> list[str]:
        """Sweep and return what went: keys of objects, and entries as `place name job`."""
        found = find_leftovers(self.store, self.objects, older_than_s=older_than_s)
        gone = remove_leftovers(self.store, self.objects, found, older_than_s=older_than_s)
        return [g.key if isinstance(g, ObjectInfo) else f"{g.place} {g.name} {g.job_id}" for g in gone]


@pytest.fixture
def farm(redis_client: redis.Redis, tmp_path: Path) -> Swept:
    return Swept(redis_client, tmp_path / "objects")


def test_old_pictures_that_no_record_names_are_removed(farm: Swept):
    orphans = [
        farm.put(f"{farm.batch.id}/000000-f0.png"),
        farm.put("0123456789abcde/000000-f1.png"),
        farm.put("check-" + "0" * 32),
    ]

    assert sorted(farm.sweep()) == sorted(orphans)
    assert [o.key for o in farm.objects.list()] == [farm.store.job(farm.job(0)).image_key]


def test_pictures_that_are_recorded_running_young_explained_or_not_ours_stay(farm: Swept):
    kept = [
        farm.put(farm.store.job(farm.job(0)).image_key),
        farm.put(f"{farm.batch.id}/000001-f{farm.running.fence}.png"),
        farm.put(f"{farm.batch.id}/000002-f9.png"),
        farm.put(f"{farm.batch.id}/manifest.jsonl"),
        farm.put(f"{farm.batch.id}/notes.txt"),
        farm.put("0123456789abcde/000000-f1.png"),
        farm.put("0123456789abcde/manifest.jsonl"),
        farm.put("inputs/photo.png"),
        farm.put("fedcba987654321/000000-f1.png", age_s=HOUR_S / 2),
    ]

    assert farm.sweep() == []
    assert {o.key for o in farm.objects.list()} == set(kept)


def test_uploads_that_no_record_names_are_removed_once_they_are_old(farm: Swept):
    place = f"uploads/{'0' * 16}/{'0' * 63}"
    old, young = farm.put(f"{place}1-01234567.png"), farm.put(f"{place}2-01234567.png", age_s=10)
    recorded, foreign = farm.put(f"{place}3-01234567.png"), farm.put("uploads/note.txt")
    farm.store.note_upload(picture().model_copy(update={"key": recorded}))

    assert farm.sweep() == [old]

    assert {young, recorded, foreign} < {o.key for o in farm.objects.list()}


def test_the_picture_of_a_job_whose_record_is_gone_stays(farm: Swept):
    key = farm.put(farm.store.job(farm.job(0)).image_key)
    farm.redis.delete(f"sigmafarm:job:{farm.job(0)}")

    assert farm.sweep() == []
    assert farm.objects.stat(key)


def test_half_written_files_of_killed_processes_are_named_by_the_check_and_removed_once_they_are_old(farm: Swept):
    partials = [f"{farm.batch.id}/.partial-abc", ".partial-def", "0123456789abcde/.partial-ghi"]
    for key in partials:
        farm.put("place")
        path = farm.objects.folder / key
        path.parent.mkdir(exist_ok=True)
        os.rename(farm.objects.folder / "place", path)
    (farm.objects.folder / farm.batch.id / ".partial-young").write_bytes(b"half")

    report = check_farm(CONFIG, farm.store, farm.objects, pause_s=0)
    gone = farm.sweep()

    named = {v.subject for v in report.violations if "half written" in v.message and "sweep --delete" in v.message}
    assert named == set(gone) == set(partials)
    assert [found.key for found in farm.objects.partials()] == [f"{farm.batch.id}/.partial-young"]
    assert check_farm(CONFIG, farm.store, farm.objects, pause_s=0).is_clean


def test_nothing_is_removed_by_looking(farm: Swept):
    key = farm.put(f"{farm.batch.id}/000000-f0.png")

    found = find_leftovers(farm.store, farm.objects)

    assert [o.key for o in found.objects] == [key]
    assert farm.objects.stat(key)


def test_stale_entries_go_when_they_are_old(farm: Swept):
    past, job = farm.clock.now_ms, farm.job(0)
    farm.redis.zadd("sigmafarm:leases:m", {job: past})
    farm.redis.zadd("sigmafarm:dispatched:m", {job: past, "ghost": past})
    farm.redis.zadd("sigmafarm:delayed", {job: past})
    farm.redis.sadd("sigmafarm:worker:gone:jobs", job, farm.job(1))

    assert farm.sweep() == []
    farm.clock.advance(2 * HOUR_S)

    told = find_leftovers(farm.store, farm.objects).entries
    gone = farm.sweep()
    assert {*gone} >= {f"leases m {job}", f"dispatched m {job}", f"delayed  {job}", f"held gone {job}"}
    assert len(gone) == len(told) == 6
    assert not farm.redis.exists("sigmafarm:worker:gone:jobs")


def test_entries_that_belong_stay_however_old(farm: Swept):
    dispatch(farm.store, slots=3)
    farm.clock.advance(24 * HOUR_S)

    assert farm.sweep() == []
    assert not farm.store.drop_entry("leases", "m", farm.job(1), older_than_s=0)
    assert not farm.store.drop_entry("held", "w1", farm.job(1), older_than_s=0)
    assert not farm.store.drop_entry("dispatched", "m", farm.job(2), older_than_s=0)
    assert farm.store.job(farm.job(1)).state == "running"


def test_an_entry_that_came_to_belong_since_it_was_found_stays(farm: Swept):
    farm.redis.sadd("sigmafarm:worker:w2:jobs", farm.job(2))
    farm.clock.advance(2 * HOUR_S)
    found = find_leftovers(farm.store, farm.objects)
    dispatch(farm.store, slots=3)
    claim_all(farm.store, [farm.job(2)], name="w2")

    assert [e.job_id for e in found.entries] == [farm.job(2)]
    assert list(remove_leftovers(farm.store, farm.objects, found)) == []


def test_records_without_any_batch_are_taken_for_the_wrong_ones(redis_client: redis.Redis, tmp_path: Path):
    store, objects = RedisStore(CONFIG, redis_client), FolderStore(tmp_path)
    objects.put("0123456789abcde/000000-f1.png", b"picture", "image/png")
    found = find_leftovers(store, objects, older_than_s=0)

    with pytest.raises(Conflict, match="1 objects lie in the object store: check that SIGMAFARM_REDIS_URL"):
        list(remove_leftovers(store, objects, found, older_than_s=0))

    assert objects.stat("0123456789abcde/000000-f1.png")


def test_a_bucket_is_checked_and_swept_as_a_folder_is(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store = RedisStore(CONFIG, redis_client)
    batch = submit(store, 2)
    with moto_server() as url:
        objects = S3Store.open("pictures", prefix="farm", endpoint_url=url)
        objects.make_bucket()
        for claim in claim_all(store, dispatch(store, slots=2)):
            finish(store, objects, claim)
        conclude(store, objects, batch)
        orphans = [f"{batch.id}/000000-f0.png", "0123456789abcde/000000-f1.png", "check-" + "0" * 32]
        for key in orphans:
            objects.put(key, b"left", "image/png")

        before = check_farm(CONFIG, store, objects, is_deep=True, pause_s=0)
        found = find_leftovers(store, objects, older_than_s=0)
        removed = list(remove_leftovers(store, objects, found, older_than_s=0))

        assert sorted(v.subject for v in before.violations) == sorted(orphans)
        assert sorted(o.key for o in removed if isinstance(o, ObjectInfo)) == sorted(orphans)
        assert check_farm(CONFIG, store, objects, is_final=True, is_deep=True, pause_s=0).is_clean


def test_after_a_sweep_the_checker_finds_nothing(farm: Swept):
    farm.store.cancel_batch(farm.batch.id)
    conclude(farm.store, farm.objects, farm.batch)
    farm.put(f"{farm.batch.id}/000001-f1.png")
    farm.redis.zadd("sigmafarm:leases:m", {farm.job(1): farm.clock.now_ms})
    assert len(check_farm(CONFIG, farm.store, farm.objects, pause_s=0).violations) == 2

    farm.clock.advance(2 * HOUR_S)
    farm.sweep()

    assert check_farm(CONFIG, farm.store, farm.objects, is_final=True, pause_s=0).is_clean
