"""What a bucket's server may say instead of doing it, and do instead of what it says: over real HTTP, each way."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import boto3
import pytest

from sigmafarm_common.config import Config
from sigmafarm_common.errors import AccessDenied, FarmUnavailable, StorageUnavailable
from sigmafarm_common.objects import open_objects
from sigmafarm_common.objects.s3 import S3Store
from tests.chaos.s3_faults import FaultyS3, QuietServer, StorageFault
from tests.common.s3_servers import KEY_ID, SECRET, moto_server

PICTURE = b"\x89PNG" + bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)  # not seconds


class Saying:
    """A server that answers everything alike."""

    def __init__(self, status: int, code: str = "", *, header: tuple[str, str] | None = None, skew_s: float = 0.0):
        body = f"<Error><Code>{code}</Code><Message>the server's own words</Message></Error>".encode() if code else b""
        self.methods: list[str] = []
        saying = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # which says "go on" to a PUT; the client would wait a second for that

            def say(self) -> None:
                saying.methods.append(self.command)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response_only(status)
                self.send_header("Date", formatdate(time.time() - skew_s, usegmt=True))
                if header:
                    self.send_header(*header)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                pass

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = say  # noqa: N815 - the base class's names

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def refusal(saying: Saying, *, is_check: bool = False) -> FarmUnavailable:
    """Return what a put, or a check, raises there."""
    store = open_objects(Config(objects_url="s3://pictures/farm", s3_endpoint_url=saying.url))
    try:
        with pytest.raises(FarmUnavailable) as caught:
            store.check() if is_check else store.put("b1/000000-f1.png", PICTURE, "image/png")
    finally:
        saying.close()
    return caught.value


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "ExpiredToken"),
        (403, "ExpiredToken"),
        (400, "InvalidToken"),
        (400, "TokenRefreshRequired"),
        (401, "Unauthorized"),
        (403, "SomethingOfAGateway"),
    ],
)
def test_a_refused_key_is_denied_in_the_servers_own_words(status: int, code: str) -> None:
    error = refusal(Saying(status, code))

    assert isinstance(error, AccessDenied)
    assert f"refuses our key ({status} {code}: the server's own words)" in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "code", "cure"),
    [
        (503, "SlowDown", "503 SlowDown: the server's own words"),
        (503, "ServiceUnavailable", "503 ServiceUnavailable"),
        (500, "InternalError", "500 InternalError"),
        (400, "RequestTimeout", "400 RequestTimeout"),
        (502, "", "502"),
        (404, "NoSuchBucket", "does not exist: create it"),
        (404, "", "SIGMAFARM_S3_ENDPOINT_URL names an S3 server"),
        (404, "NoSuchKey", "404 NoSuchKey"),
        (403, "QuotaExceeded", "is full: make room there or raise its quota (403 QuotaExceeded"),
        (507, "XMinioStorageFull", "is full"),
        (507, "", "is full"),
        (409, "OperationAborted", "409 OperationAborted"),
        (400, "BadDigest", "400 BadDigest"),
        (400, "AuthorizationHeaderMalformed", "lies in another region: set AWS_REGION"),
        (418, "Teapot", "418 Teapot: the server's own words"),
    ],
)
def test_what_may_mend_itself_or_be_mended_is_unavailable_in_the_servers_own_words(
    status: int, code: str, cure: str
) -> None:
    error = refusal(Saying(status, code))

    assert isinstance(error, StorageUnavailable)
    assert cure in str(error)
    assert error.retryable


@pytest.mark.parametrize(("skew_s", "said"), [(3600.0, "ahead of"), (-7200.0, "behind")])
def test_a_refused_clock_names_the_clock_and_by_how_much_it_is_wrong(skew_s: float, said: str) -> None:
    error = refusal(Saying(403, "RequestTimeTooSkewed", skew_s=skew_s))

    assert isinstance(error, AccessDenied)
    assert "refuses this machine's clock" in str(error)
    assert said in str(error)
    assert "run NTP" in str(error)
    assert "AWS_SECRET_ACCESS_KEY" not in str(error)


def test_the_region_of_a_bucket_elsewhere_is_named() -> None:
    error = refusal(Saying(301, "PermanentRedirect", header=("x-amz-bucket-region", "eu-central-1")))

    assert "eu-central-1" in str(error)


def test_a_check_is_refused_in_the_words_of_a_put_and_never_asks_by_head() -> None:
    saying = Saying(403, "ExpiredToken")

    error = refusal(saying, is_check=True)

    assert "(403 ExpiredToken: the server's own words)" in str(error)
    assert saying.methods == ["PUT"]


def test_a_missing_bucket_is_not_taken_for_a_missing_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    with moto_server() as url, pytest.raises(StorageUnavailable, match="does not exist"):
        S3Store.open("not-there", endpoint_url=url).stat("a")


def test_a_profile_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(AccessDenied, match=r"nobody.*check AWS_PROFILE"):
        S3Store.open("pictures")


@pytest.fixture
def front() -> Iterator[FaultyS3]:
    """A front of a real server, with one bucket."""
    with moto_server() as url:
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket="pictures")
        front = FaultyS3(url)
        yield front
        front.close()


def opened(front: FaultyS3) -> S3Store:
    return S3Store.open("pictures", prefix="farm", endpoint_url=front.url)


@pytest.mark.parametrize("fault", [StorageFault.HALF, StorageFault.OTHER_BYTES])
@pytest.mark.parametrize("is_file", [False, True], ids=["bytes", "file"])
def test_a_put_that_kept_other_bytes_is_unavailable_and_put_again_is_whole(
    front: FaultyS3, fault: StorageFault, is_file: bool
) -> None:
    objects = opened(front)
    front.fault = fault

    with pytest.raises(StorageUnavailable, match=r"said that it stored b1/x\.png, 10244 bytes, and has \d+ bytes that"):
        objects.put("b1/x.png", io.BytesIO(PICTURE) if is_file else PICTURE, "image/png")
    with pytest.raises(StorageUnavailable, match="said that it stored check-"):
        objects.check()

    front.fault = None
    objects.put("b1/x.png", PICTURE, "image/png")
    assert objects.get("b1/x.png") == PICTURE


def test_a_gateway_that_tells_no_etag_is_believed_once_it_was_read_back(front: FaultyS3) -> None:
    front.fault = StorageFault.NO_ETAG

    opened(front).put("b1/x.png", PICTURE, "image/png")
    opened(front).put("b1/manifest.jsonl", io.BytesIO(b"{}\n" * 500_000), "application/x-ndjson")

    assert front.num_faults == 2
    assert hashlib.sha256(opened(front).get("b1/x.png")).digest() == hashlib.sha256(PICTURE).digest()


def test_the_server_is_given_the_md5_of_a_file_from_where_it_stands() -> None:
    with moto_server() as url:
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        client.create_bucket(Bucket="pictures")
        store = S3Store.open("pictures", endpoint_url=url)
        sent: list[str] = []
        store._client.meta.events.register(  # pyright: ignore[reportPrivateUsage]
            "before-send.s3.PutObject", lambda request, **_: sent.append(request.headers["Content-MD5"].decode())
        )
        file = io.BytesIO(b"skipped" + PICTURE)
        file.seek(7)

        store.put("x", file, "text/plain")

        assert sent == [__import__("base64").b64encode(hashlib.md5(PICTURE).digest()).decode()]


def test_a_key_that_was_renewed_in_its_file_counts_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setattr("sigmafarm_common.objects.s3.KEY_AGAIN_S", 0.0)
    with moto_server() as url:
        boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
        ).create_bucket(Bucket="pictures")
        store = S3Store.open("pictures", endpoint_url=url)
        with pytest.raises(AccessDenied, match="needs a key"):
            store.check()

        file.write_text(f"[default]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n")

        with pytest.raises(AccessDenied):  # this refusal has it read the file again
            store.check()
        store.check()
