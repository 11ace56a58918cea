"""Pictures by HTTP: streamed from a folder, linked in a bucket, as a zip; previews; manifests."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator

import httpx2
import pytest

from sigmafarm import Config, Farm, FarmBatch
from sigmafarm.http.routes.archive import zip_pictures
from sigmafarm.http.server import HttpServer
from sigmafarm_common.objects.s3 import S3Store
from sigmafarm_common.store.values import Preview
from tests.common.s3_servers import moto_server
from tests.farm_hand import FarmHand


@pytest.fixture
def drawn(farm: Farm, hand: FarmHand) -> FarmBatch:
    batch = farm.submit(["a", "fail b", "c"], name="three")
    hand.work_all()
    return batch


def test_a_picture_from_a_folder_is_streamed_and_kept_for_good(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    job = next(drawn.jobs())

    response = http.get(f"/v1/jobs/{job.id}/image")

    assert response.status_code == 200
    assert hashlib.sha256(response.content).hexdigest() == job.sha256
    assert response.headers["content-type"] == "image/png"
    assert response.headers["cache-control"] == "private, max-age=86400, immutable"
    assert http.get(f"/v1/jobs/{job.id}/image", headers={"If-None-Match": response.headers["etag"]}).status_code == 304


def test_a_job_without_a_picture_says_so(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    response = http.get(f"/v1/jobs/{drawn.id}-000001/image")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert "has no picture: it is failed" in response.json()["message"]


def test_a_picture_that_is_lost_is_not_found(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    farm.objects.delete(next(drawn.jobs()).image_key)

    assert http.get(f"/v1/jobs/{drawn.id}-000000/image").status_code == 404


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


def test_a_picture_in_a_bucket_is_a_link_that_works_for_minutes(
    config: Config, s3_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "farm")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "opensesame")
    config = config.replaced(objects_url="s3://pictures/here", s3_endpoint_url=s3_url)
    with Farm(config) as farm, HttpServer(config, has_keeper=False) as server:
        assert isinstance(farm.objects, S3Store)
        farm.objects.make_bucket()
        hand = FarmHand(farm)
        batch = farm.submit(["a"])
        hand.work_all()
        job = next(batch.jobs())

        link = httpx2.get(f"{server.url}/v1/jobs/{job.id}/image", follow_redirects=False)
        followed = httpx2.get(link.headers["location"])
        streamed = httpx2.get(f"{server.url}/v1/jobs/{job.id}/image?redirect=false")
    with HttpServer(config.replaced(image_links=False), has_keeper=False) as server:
        without_links = httpx2.get(f"{server.url}/v1/jobs/{job.id}/image")

    assert without_links.content == streamed.content
    assert link.status_code == 302
    assert link.headers["location"].startswith(s3_url)
    assert "X-Amz-Expires=300" in link.headers["location"]
    assert "no-store" in link.headers["cache-control"]
    assert followed.content == streamed.content
    assert hashlib.sha256(streamed.content).hexdigest() == job.sha256


def test_a_batch_as_a_zip_holds_its_pictures_and_its_manifest(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    response = http.get(f"/v1/batches/{drawn.id}/download.zip")
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    lines = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
    first = next(drawn.jobs())

    assert response.headers["content-type"] == "application/zip"
    assert f'filename="{drawn.id}.zip"' in response.headers["content-disposition"]
    assert archive.namelist() == ["000000.png", "000002.png", "manifest.jsonl"]
    assert archive.testzip() is None
    assert hashlib.sha256(archive.read("000000.png")).hexdigest() == first.sha256
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert [(line["key"], line["state"]) for line in lines] == [
        ("000000.png", "succeeded"),
        ("", "failed"),
        ("000002.png", "succeeded"),
    ]


def test_what_is_lost_or_damaged_is_left_out_of_the_zip_and_named(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    first, _, third = drawn.jobs()
    farm.objects.delete(first.image_key)
    farm.objects.put(third.image_key, b"something else", "image/png")

    archive = zipfile.ZipFile(io.BytesIO(http.get(f"/v1/batches/{drawn.id}/download.zip").content))

    assert archive.namelist() == ["manifest.jsonl", "missing.txt"]
    assert archive.read("missing.txt").decode().count("lost or damaged") == 2


def test_a_zip_is_made_a_piece_at_a_time(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"] * 40)
    hand.work_all()

    pieces = [len(piece) for piece in zip_pictures(batch.jobs(), farm.objects)]

    assert len(pieces) > 40
    assert max(pieces) < 30_000, "the manifest is the largest"


def test_the_manifest_is_a_line_a_job(http: httpx2.Client, drawn: FarmBatch):
    response = http.get(f"/v1/batches/{drawn.id}/manifest")
    lines = [json.loads(line) for line in response.text.splitlines()]

    assert response.headers["content-type"] == "application/x-ndjson"
    assert [line["row"] for line in lines] == [0, 1, 2]
    assert lines[0]["key"] == next(drawn.jobs()).image_key


def test_a_preview_is_the_newest_of_a_running_job_and_asks_for_more(http: httpx2.Client, farm: Farm, hand: FarmHand):
    farm.submit(["a"])
    (claim,) = hand.claim()
    path = f"/v1/jobs/{claim.job_id}/preview"

    before = http.get(path)
    wanted = farm.store.are_previews_wanted()
    farm.store.show([Preview(claim.job_id, claim.fence, 7, b"RIFF....WEBP")])
    shown = http.get(path)

    assert (before.status_code, wanted) == (404, True)
    assert (shown.content, shown.headers["content-type"], shown.headers["x-step"]) == (
        b"RIFF....WEBP",
        "image/webp",
        "7",
    )
    assert http.get(path, headers={"If-None-Match": shown.headers["etag"]}).status_code == 304
