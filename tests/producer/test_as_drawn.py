"""What a program or a notebook has of a batch: pictures as they are drawn, an await, HTML that stands by itself."""

from __future__ import annotations

import asyncio

import pytest
import redis

import sigmafarm
from sigmafarm import Farm, StorageUnavailable
from tests.farm_hand import Drawer, FarmHand


def test_pictures_come_as_they_are_drawn_and_each_once(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a", "b", "fail c", "d", "e"])
    claims = {int(claim.job_id[-6:]): claim for claim in hand.claim()}
    hand._finish(claims[1])

    images = batch.images()
    job, image = next(images)
    for row in (4, 0, 2):
        hand._finish(claims[row])
    rows = [next(images)[0].row for _ in range(2)]
    hand._finish(claims[3])

    assert (job.row, image.size) == (1, (64, 64))
    assert rows == [4, 0]
    assert [job.row for job, _ in images] == [3]
    assert [job.row for job, _ in batch.images()] == [0, 1, 3, 4]


def test_pictures_whose_events_are_gone_come_at_the_end(farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch):
    batch = farm.submit(["a", "b"])
    claims = hand.claim()
    hand._finish(claims[0])
    images = batch.images()
    next(images)

    monkeypatch.setattr(type(farm.store), "events", lambda *_, **__: [])
    hand._finish(claims[1])

    assert [job.row for job, _ in images] == [1]


def test_a_damaged_picture_is_told(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"])
    hand.work_all()
    (job,) = batch.jobs()
    farm.objects.put(job.image_key, b"x" * job.size_bytes, "image/png")

    with pytest.raises(StorageUnavailable, match=f"job {job.id} is damaged: submit its prompt and seed again"):
        list(batch.images())


def test_a_batch_can_be_awaited(farm: Farm, hand: FarmHand):
    async def submit_and_wait() -> list[sigmafarm.Counts]:
        batches = [farm.submit(["a"]), farm.submit(["b", "fail c"])]
        return list(await asyncio.gather(*map(_wait, batches)))

    async def _wait(batch: sigmafarm.FarmBatch) -> sigmafarm.Counts:
        return await batch

    with Drawer(hand):
        first, second = asyncio.run(submit_and_wait())

    assert (first.succeeded, second.succeeded, second.failed) == (1, 1, 1)


def test_a_notebook_shows_bar_counts_and_pictures_and_runs_nothing(farm: Farm, hand: FarmHand):
    batch = farm.submit(['<script>alert("x")</script>', "fail b", *"cdefghijk"], name="<b>name</b>\x1b[31m")
    hand.work_all()

    said = batch._repr_html_()

    assert said.count("<img ") == 8
    assert "10 succeeded, 1 failed of 11" in said
    assert "&lt;b&gt;name&lt;/b&gt;" in said
    assert "<script" not in said
    assert "\x1b" not in said
    farm.objects.delete(next(batch.jobs()).image_key)
    assert batch._repr_html_().count("<img ") == 7


def test_a_notebook_is_told_of_a_batch_that_is_gone(farm: Farm, hand: FarmHand, redis_client: redis.Redis):
    batch = farm.submit(["a"])
    redis_client.flushdb()

    assert "there is no batch" in batch._repr_html_()


def test_the_version_is_the_packages():
    from importlib.metadata import version

    assert sigmafarm.__version__ == version("sigmafarm")
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = sigmafarm.nosuch  # pyright: ignore[reportAttributeAccessIssue]
