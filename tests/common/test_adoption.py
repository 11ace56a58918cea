"""Records that were lost while the pictures were not are made anew: from the manifest, and from the pictures alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import redis
from PIL import Image, PngImagePlugin

from sigmafarm_common.adoption import adopt, find_adoptable
from sigmafarm_common.check import Rule, check_farm
from sigmafarm_common.errors import Conflict, NotFound
from sigmafarm_common.farm_sweep import find_leftovers, remove_leftovers
from sigmafarm_common.manifest import write_manifest
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.picture_keys import image_key
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.redis.adopting import Adopting
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim, Output
from sigmafarm_common.sweep import sweep_batch
from sigmafarm_worker.service.images import encode
from tests.common.store_contract import CONFIG, FakeMs, claim_all, dispatch, submit

PROMPTS = ["a barn, übergroß", "a boat", "a fault", "a wish taken back", "a cat"]
FORMATS = ["png", "jpeg", "png", "png", "webp"]


class Lost:
    """A farm with one batch that is over: three pictures in three formats, one failure, one cancelled job."""

    def __init__(self, client: redis.Redis, folder: Path):
        self.redis, self.clock = client, FakeMs()
        self.store, self.objects = RedisStore(CONFIG, client, now_ms=self.clock), FolderStore(folder)
        requests = [
            RenderRequest(prompt=p, output_format=f, height=64, width=64, seed=9, model="m").resolved()  # pyright: ignore[reportArgumentType]
            for p, f in zip(PROMPTS, FORMATS, strict=True)
        ]
        self.batch_id = submit(self.store, requests=requests).id
        claims = claim_all(self.store, dispatch(self.store, slots=8))
        for claim in claims:
            row = int(claim.job_id[-6:])
            if row == 2:
                self.store.fail(claim.job_id, claim.fence, code="bad", message="no luck", retryable=False)
            elif row == 3:
                self.store.cancel_job(claim.job_id)
            else:
                self.finish(claim)
        self.before = {j.row: j for j in self.store.jobs(self.batch_id)}

    def finish(self, claim: Claim) -> None:
        key = self.draw(claim, level=claim.fence.number)
        data = self.objects.get(key)
        output = Output(key, hashlib.sha256(data).hexdigest(), len(data))
        assert self.store.finish(claim.job_id, claim.fence, output)

    def draw(self, claim: Claim, *, level: int) -> str:
        pixels = np.full((64, 64, 3), level, np.uint8)
        key = image_key(claim.tried, claim.request.output_format)  # pyright: ignore[reportArgumentType]
        self.objects.put(key, encode(pixels, claim.request.output_format or "png", claim.request, "m"), "image/png")
        return key

    def write_manifest(self) -> None:
        write_manifest(self.store, self.objects, self.batch_id)

    def lose_records(self) -> None:
        self.redis.flushdb()

    def found(self) -> list[str]:
        return [f.batch_id for f in find_adoptable(CONFIG, self.store, self.objects)]

    def adopt(self) -> None:
        adopt(self.store, self.objects, self.batch_id, owner="ann")

    def violations(self) -> list[str]:
        report = check_farm(CONFIG, self.store, self.objects, is_final=True, is_deep=True, pause_s=0)
        return [v.message for v in report.violations]


@pytest.fixture
def lost(redis_client: redis.Redis, tmp_path: Path) -> Lost:
    return Lost(redis_client, tmp_path / "objects")


def same(before: dict[int, object], lost: Lost, *, rows: list[int]) -> None:
    """What is known of these rows is what was known."""
    now = {j.row: j for j in lost.store.jobs(lost.batch_id)}
    for row in rows:
        fields = ("id", "state", "request", "model", "image_key", "sha256", "size_bytes", "fence", "num_steps")
        assert {f: getattr(now[row], f) for f in fields} == {f: getattr(before[row], f) for f in fields}


def test_batch_with_a_manifest_is_made_anew_as_it_was(lost: Lost) -> None:
    lost.write_manifest()
    lost.lose_records()

    assert lost.found() == [lost.batch_id]
    lost.adopt()

    same(lost.before, lost, rows=[0, 1, 4])
    failed, cancelled = lost.store.job(f"{lost.batch_id}-000002"), lost.store.job(f"{lost.batch_id}-000003")
    assert (failed.state, failed.error, failed.request.prompt) == (JobState.FAILED, "no luck", "a fault")
    assert (cancelled.state, cancelled.request.prompt) == (JobState.CANCELLED, "a wish taken back")
    batch = lost.store.batch(lost.batch_id)
    assert (batch.owner, batch.name, batch.counts.is_done) == ("ann", "adopted", True)
    assert [b.id for b in lost.store.batches(owner="ann")] == [lost.batch_id]
    assert lost.found() == []
    lost.write_manifest()
    lost.store.note_manifest(lost.batch_id, 2**53)
    assert lost.violations() == []


def test_batch_without_a_manifest_is_made_anew_from_what_its_pictures_say(lost: Lost) -> None:
    lost.lose_records()

    lost.adopt()

    same(lost.before, lost, rows=[0, 1, 4])
    for row in (2, 3):
        job = lost.store.job(f"{lost.batch_id}-{row:06d}")
        assert (job.state, job.error_code) == (JobState.FAILED, "record_lost")
        assert "submit its prompt again" in job.error
    lost.write_manifest()
    lost.store.note_manifest(lost.batch_id, 2**53)
    assert lost.violations() == []


def test_a_picture_that_kept_its_text_alone_still_says_what_it_shows(lost: Lost) -> None:
    key = lost.before[0].image_key
    file, kept = io.BytesIO(), PngImagePlugin.PngInfo()
    with Image.open(io.BytesIO(lost.objects.get(key))) as image:
        kept.add_text("parameters", str(image.info["parameters"]))
        image.save(file, "PNG", pnginfo=kept)
    lost.objects.put(key, file.getvalue(), "image/png")
    lost.lose_records()

    lost.adopt()

    job = lost.store.job(f"{lost.batch_id}-000000")
    assert (job.state, job.request) == (JobState.SUCCEEDED, lost.before[0].request)


def test_adopted_jobs_are_retried_forgotten_and_swept_like_any_other(lost: Lost) -> None:
    lost.write_manifest()
    lost.lose_records()
    lost.adopt()

    assert lost.store.finished_batches() == [lost.batch_id], "the concluder writes its manifest"
    assert sweep_batch(lost.store, lost.objects, lost.batch_id) == []
    assert lost.store.retry_batch(lost.batch_id, states=[JobState.FAILED, JobState.CANCELLED]) == 2
    for claim in claim_all(lost.store, dispatch(lost.store, slots=8)):
        lost.finish(claim)
    assert lost.store.batch(lost.batch_id).counts.succeeded == 5
    lost.write_manifest()
    lost.store.note_manifest(lost.batch_id, 2**53)
    assert lost.violations() == []
    lost.clock.advance(CONFIG.retention_s + 1)
    assert lost.store.forget_batches() == [lost.batch_id]
    assert not lost.redis.keys("sigmafarm:job:*")


def test_pictures_that_are_damaged_gone_or_of_lost_tries_do_not_count(lost: Lost) -> None:
    lost.write_manifest()
    lost.objects.delete(lost.before[0].image_key)
    lost.objects.put(lost.before[1].image_key, b"\x89PNG half", "image/png")
    lost.lose_records()

    lost.adopt()

    jobs = {j.row: j for j in lost.store.jobs(lost.batch_id)}
    assert [jobs[row].error_code for row in (0, 1)] == ["picture_lost", "picture_lost"]
    assert jobs[0].request == lost.before[0].request
    assert jobs[4].state is JobState.SUCCEEDED
    assert lost.objects.stat(lost.before[1].image_key), "adopting removes nothing"


def test_picture_that_is_newer_than_the_manifest_speaks_for_itself(lost: Lost) -> None:
    """As after a retry whose batch had not come to its end again."""
    lost.write_manifest()
    lost.store.retry_job(f"{lost.batch_id}-000002")
    (claim,) = claim_all(lost.store, dispatch(lost.store, slots=8))
    lost.finish(claim)
    manifest = lost.objects.folder / lost.batch_id / "manifest.jsonl"
    os.utime(manifest, (manifest.stat().st_mtime - 60,) * 2)
    lost.lose_records()

    lost.adopt()

    job = lost.store.job(claim.job_id)
    assert (job.state, job.fence, job.request.prompt) == (JobState.SUCCEEDED, 2, "a fault")


def test_adoption_that_was_cut_off_goes_on_when_it_is_said_again(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    lost.lose_records()
    monkeypatch.setattr("sigmafarm_common.store.redis.adopting.ADOPTED_PER_CALL", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Adopting, "_adopt_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lost.adopt()
    assert lost.store.batches() == []
    with pytest.raises(NotFound):
        lost.store.batch(lost.batch_id)

    assert lost.found() == [lost.batch_id]
    lost.adopt()

    same(lost.before, lost, rows=[0, 1, 4])
    assert lost.store.batch(lost.batch_id).counts.total == 5


def test_batch_that_has_records_is_never_touched(lost: Lost) -> None:
    assert lost.found() == []

    with pytest.raises(Conflict, match="has records"):
        lost.adopt()
    with pytest.raises(NotFound, match="nothing of a batch"):
        adopt(lost.store, lost.objects, "0123456789abcde", owner="ann")
    with pytest.raises(NotFound, match="nothing of a batch"):
        adopt(lost.store, lost.objects, "../batch:*", owner="ann")

    assert {j.row: j for j in lost.store.jobs(lost.batch_id)} == lost.before


def test_batch_that_may_have_been_forgotten_in_order_is_said_to_be_old(lost: Lost) -> None:
    lost.write_manifest()
    lost.lose_records()
    (fresh,) = find_adoptable(CONFIG, lost.store, lost.objects)
    for path in (lost.objects.folder / lost.batch_id).iterdir():
        os.utime(path, (path.stat().st_mtime - CONFIG.retention_s - 3600,) * 2)

    (old,) = find_adoptable(CONFIG, lost.store, lost.objects)

    assert (fresh.is_old, old.is_old) == (False, True)


def test_lines_of_a_manifest_that_are_spoiled_leave_the_word_to_the_pictures(lost: Lost) -> None:
    lost.write_manifest()
    path = lost.objects.folder / lost.batch_id / "manifest.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    spoiled = json.loads(lines[1])
    spoiled["settings"] = {"prompt": 5}
    path.write_text("\n".join([lines[0][:40], json.dumps(spoiled), "[]", *lines[3:]]), encoding="utf-8")
    lost.lose_records()

    lost.adopt()

    same(lost.before, lost, rows=[0, 1, 4])


def test_check_and_sweep_advise_to_adopt_before_they_advise_to_delete(lost: Lost) -> None:
    lost.lose_records()
    submit(lost.store)

    report = check_farm(CONFIG, lost.store, lost.objects, pause_s=0)

    orphans = [v for v in report.violations if v.rule is Rule.ORPHAN]
    assert len(orphans) == 3
    assert all("`sigmafarm adopt` makes it anew" in v.message for v in orphans)
    found = find_leftovers(lost.store, lost.objects, older_than_s=0)
    assert found.num_without_batch == 3
    lost.adopt()
    assert list(remove_leftovers(lost.store, lost.objects, find_leftovers(lost.store, lost.objects))) == []
