"""Scripts and styles are kept for good under their own address; what is compressed, and what is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from sigmafarm import Farm
from sigmafarm.http.dashboard import static_files
from sigmafarm.http.dashboard.static_files import STATIC, digest, static_url
from tests.farm_hand import FarmHand

HTML = {"Accept": "text/html"}
PLAIN = {"Accept-Encoding": "identity"}


def test_every_file_of_a_page_is_kept_for_good(http: httpx2.Client, hand: FarmHand) -> None:
    page = http.get("/", headers=HTML).text
    paths = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))

    assert len(paths) >= 8
    for path in paths:
        answer = http.get(path)
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
        assert path.startswith(f"/static/{digest()}/")


def test_every_file_has_an_address_and_names_others_beside_it(http: httpx2.Client) -> None:
    """Modules import each other by relative paths, which stay under the digest."""
    for file in STATIC.rglob("*"):
        if file.is_file():
            answer = http.get(static_url(file.relative_to(STATIC).as_posix()), headers=PLAIN)
            assert answer.content == file.read_bytes()
        if file.suffix == ".js" and "vendor" not in file.parts:
            assert not re.search(r"""from\s+["']/""", file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", ["css/base.css", "0123456789abcdef/css/base.css"])
def test_an_address_without_the_digest_of_now_is_asked_for_again(http: httpx2.Client, path: str) -> None:
    answer = http.get(f"/static/{path}")

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert http.get(f"/static/{path}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    "path", ["nothing.css", "../mount.py", "%2e%2e/mount.py", "{digest}/../../mount.py", "{digest}/"]
)
def test_nothing_else_is_served(http: httpx2.Client, path: str) -> None:
    assert http.get(f"/static/{path.format(digest=digest())}").status_code in (404, 405)


def test_the_digest_is_of_all_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    monkeypatch.setattr(static_files, "STATIC", tmp_path)
    seen: set[str] = set()
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: (tmp_path / "a.js").write_text("2"),
        lambda: (tmp_path / "b.js").touch(),
    ]
    for change in changes:
        change()
        digest.cache_clear()
        seen.add(digest())
    monkeypatch.undo()
    digest.cache_clear()

    assert len(seen) == 3


def test_lists_and_styles_are_compressed_and_pages_pictures_and_zips_are_not(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    batch = farm.submit([f"a prompt that is long enough {n}" for n in range(30)])
    hand.work_all()
    job = next(batch.jobs())
    small = [
        f"/v1/batches/{batch.id}/jobs",
        "/openapi.json",
        f"/v1/batches/{batch.id}/manifest",
        static_url("css/base.css"),
    ]
    whole = [
        "/",
        f"/batches/{batch.id}",
        f"/v1/jobs/{job.id}/image",
        f"/v1/batches/{batch.id}/download.zip",
        "/healthz",
    ]

    for path in (*small, *whole):
        packed, plain = http.get(path, headers=HTML), http.get(path, headers=HTML | PLAIN)
        assert (packed.headers.get("content-encoding") == "gzip") is (path in small), path
        assert "content-encoding" not in plain.headers
        if not path.startswith(("/batches", "/healthz")) and path != "/":
            assert packed.content == plain.content
