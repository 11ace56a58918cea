"""Parts of pictures and zips: a download that broke goes on, and ends in the same bytes."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmafarm import Farm, FarmBatch
from sigmafarm.http.ranges import Span, cut
from sigmafarm.http.routes.archive import sizes_of, zip_pictures, zip_size
from sigmafarm.http.server import HttpServer
from sigmafarm_common.manifest import all_jobs
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S


@pytest.fixture
def drawn(farm: Farm, hand: FarmHand) -> FarmBatch:
    batch = farm.submit(["a", "fail b", "c", "d"], name="four")
    hand.work_all()
    return batch


@pytest.fixture
def files(http: httpx2.Client, farm: Farm, drawn: FarmBatch) -> dict[str, str]:
    """The address of each kind of file."""
    picture = farm.objects.get(next(drawn.jobs()).image_key)
    upload = farm.upload(picture)
    return {
        "picture": f"/v1/jobs/{drawn.id}-000000/image",
        "upload": f"/v1/images/{upload}/file",
        "zip": f"/v1/batches/{drawn.id}/download.zip",
    }


KINDS = pytest.mark.parametrize("kind", ["picture", "upload", "zip"])


@KINDS
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-", 10, -1),
        ("bytes=10-19", 10, 19),
        ("bytes=10-99999999", 10, -1),
        ("bytes=-7", -7, -1),
        ("bytes=-99999999", 0, -1),
        ("Bytes = 3-5", 3, 5),
    ],
)
def test_a_part_is_a_part_of_the_whole(
    http: httpx2.Client, files: dict[str, str], kind: str, asked: str, first: int, last: int
):
    whole = http.get(files[kind])
    size = len(whole.content)
    begin, end = first % size, last % size

    part = http.get(files[kind], headers={"Range": asked})

    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes {begin}-{end}/{size}"
    assert part.content == whole.content[begin : end + 1]
    assert int(part.headers["content-length"]) == len(part.content)
    assert part.headers["etag"] == whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"


@KINDS
@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=-", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "", "bytes=1"])
def test_what_is_no_part_gives_the_whole(http: httpx2.Client, files: dict[str, str], kind: str, asked: str):
    whole, answer = http.get(files[kind]), http.get(files[kind], headers={"Range": asked})

    assert (answer.status_code, answer.content) == (200, whole.content)


@KINDS
def test_what_is_behind_the_end_is_refused_with_the_size(http: httpx2.Client, files: dict[str, str], kind: str):
    size = len(http.get(files[kind]).content)

    for asked in (f"bytes={size}-", "bytes=-0", "bytes=999999999999-"):
        answer = http.get(files[kind], headers={"Range": asked})
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{size}"
        assert f"there are {size} bytes" in answer.json()["message"]


@KINDS
def test_a_part_of_what_has_changed_is_the_whole(http: httpx2.Client, files: dict[str, str], kind: str):
    whole = http.get(files[kind])

    same = http.get(files[kind], headers={"Range": "bytes=1-", "If-Range": whole.headers["etag"]})
    other = http.get(files[kind], headers={"Range": "bytes=1-", "If-Range": '"other"'})
    date = http.get(files[kind], headers={"Range": "bytes=1-", "If-Range": "Sun, 06 Nov 1994 08:49:37 GMT"})

    assert (same.status_code, other.status_code, date.status_code) == (206, 200, 200)
    assert http.get(files[kind], headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


@KINDS
def test_a_head_has_no_parts(http: httpx2.Client, files: dict[str, str], kind: str):
    answer = http.head(files[kind], headers={"Range": "bytes=1-2"})

    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "bytes")


def test_the_zip_of_a_batch_that_is_not_over_has_no_parts(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    drawn.retry()

    answer = http.get(f"/v1/batches/{drawn.id}/download.zip", headers={"Range": "bytes=1-"})

    assert answer.status_code == 200
    assert "etag" not in answer.headers


def test_the_zip_of_a_batch_that_was_drawn_on_is_another(http: httpx2.Client, hand: FarmHand, drawn: FarmBatch):
    address = f"/v1/batches/{drawn.id}/download.zip"
    tag = http.get(address).headers["etag"]
    assert http.get(address).headers["etag"] == tag

    drawn.retry()
    hand.work_all()

    assert http.get(address).headers["etag"] != tag


def test_a_zip_of_which_a_picture_is_lost_has_parts_too(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    farm.objects.delete(next(drawn.jobs()).image_key)
    address = f"/v1/batches/{drawn.id}/download.zip"
    whole = http.get(address).content

    part = http.get(address, headers={"Range": "bytes=100-"})

    assert (part.status_code, whole[:100] + part.content) == (206, whole)
    assert b"is lost or damaged" in zipfile.ZipFile(io.BytesIO(whole)).read("missing.txt")


def test_a_part_of_a_zip_that_would_not_fit_breaks_off(http: httpx2.Client, farm: Farm, drawn: FarmBatch):
    """A picture has other bytes of the same number: that shows while they are read."""
    job = next(drawn.jobs())
    farm.objects.put(job.image_key, b"x" * job.size_bytes, "image/png")

    def fetch() -> None:
        http.get(f"/v1/batches/{drawn.id}/download.zip", headers={"Range": "bytes=1-"}).raise_for_status()

    with pytest.raises(httpx2.HTTPError):
        fetch()


def test_the_size_of_a_zip_is_known_before_it_is_made(farm: Farm, hand: FarmHand):
    batch = farm.submit([f"{'fail ' if n % 7 == 3 else ''}a{n}" for n in range(300)])
    hand.work_all()
    farm.objects.delete(next(batch.jobs()).image_key)

    there = sizes_of(all_jobs(farm.store, batch.id), farm.objects, batch.id)

    made = b"".join(zip_pictures(all_jobs(farm.store, batch.id), farm.objects, there))
    assert zip_size(all_jobs(farm.store, batch.id), there) == len(made)
    assert zipfile.ZipFile(io.BytesIO(made)).testzip() is None


@given(st.lists(st.binary(max_size=5)), st.data())
def test_a_part_is_cut_wherever_the_pieces_end(pieces: list[bytes], data: st.DataObject):
    whole = b"".join(pieces)
    if not whole:
        return
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first, len(whole) - 1))

    assert b"".join(cut(iter(pieces), Span(first, last, len(whole)))) == whole[first : last + 1]


@pytest.mark.skipif(shutil.which("wget") is None, reason="no wget here: the requests that it makes are tried above")
@pytest.mark.parametrize("kind", ["picture", "zip"])
def test_wget_goes_on_where_it_was_broken_off(
    server: HttpServer, http: httpx2.Client, files: dict[str, str], kind: str, tmp_path: Path
):
    whole, half = http.get(files[kind]).content, tmp_path / "half"
    half.write_bytes(whole[: len(whole) // 2])

    done = subprocess.run(
        ["wget", "-c", "-nv", "-O", str(half), server.url + files[kind]], capture_output=True, timeout=LIMIT_S
    )

    assert done.returncode == 0, done.stderr.decode()
    assert half.read_bytes() == whole
    spider = ["wget", "--spider", "-nv", server.url + files[kind]]
    assert subprocess.run(spider, capture_output=True, timeout=LIMIT_S).returncode == 0
