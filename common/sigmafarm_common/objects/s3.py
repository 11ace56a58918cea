"""The object store in a bucket of any S3-compatible server, by boto3.

Written for servers other than Amazon's too: path style, signature s3v4, one PUT an object with its MD5 beside it, and
no picture counts before the server has shown that it has these very bytes (`_confirm`). Every call has bounded timeouts
and few retries; a job's own retries come on top. AWS_* variables keep their meaning, from the environment and from
.env; a key that was refused is read anew, so that a new one counts without a restart.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from functools import wraps
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

from boto3.session import Session
from botocore import exceptions as boto
from botocore.config import Config as BotoConfig

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import env_file_values, masked
from sigmafarm_common.errors import AccessDenied, InvalidInput, NotFound, SigmafarmError, StorageUnavailable
from sigmafarm_common.objects.protocol import CHUNK_BYTES, ObjectInfo, checked_key
from sigmafarm_common.objects.s3_errors import explained, time_of

#: Longest waits for a connection and for the next bytes, in seconds.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 20
#: Tries of one call, the first included.
MAX_TRIES = 3
#: Connections that one process keeps open.
MAX_CONNECTIONS = 32
#: The region of servers that have none.
DEFAULT_REGION = "us-east-1"
#: A refused key is read anew at most this often, in seconds.
KEY_AGAIN_S = 1.0
#: Encryption under which an ETag is no MD5 although the server has compared the one that came with the PUT.
KEYED_ENCRYPTION = ("aws:kms", "aws:kms:dsse")

P = ParamSpec("P")
R = TypeVar("R")


def _translated(method: Callable[Concatenate[S3Store, P], R]) -> Callable[Concatenate[S3Store, P], R]:
    """Turn boto3's errors into the farm's."""

    @wraps(method)
    def call(self: S3Store, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except (boto.BotoCoreError, boto.ClientError, boto.HTTPClientError) as error:
            raise self.explained(error) from error

    return call


class S3Store:
    """Objects below a prefix of one bucket. The client is safe to share between threads."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str = "",
        *,
        make_client: Callable[[], Any] | None = None,
        clock: Clock | None = None,
    ):
        """`make_client` makes another client, with the key as it is said then, when this one's was refused."""
        self._client = client
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._make_client = make_client
        self._clock = clock or SystemClock()
        self._made_s = self._clock.monotonic_s()
        self._making = threading.Lock()

    @classmethod
    def open(cls, bucket: str, *, prefix: str = "", endpoint_url: str | None = None) -> S3Store:
        """Make the client; nothing is asked of the server yet. Raises StorageUnavailable or AccessDenied if it
        cannot."""
        try:
            client = _client(endpoint_url)
        except (boto.BotoCoreError, ValueError) as error:
            if isinstance(error, boto.ProfileNotFound):
                raise explained(f"bucket {bucket!r}", error, now_s=SystemClock().wall_s()) from error
            raise StorageUnavailable(
                f"no S3 client for bucket {bucket!r}: {masked(str(error))}; check SIGMAFARM_S3_ENDPOINT_URL and AWS_*"
            ) from error
        return cls(client, bucket, prefix, make_client=lambda: _client(endpoint_url))

    def check(self) -> None:
        """Put, read and delete. The PUT comes first: its refusal carries the server's own words, a HEAD's none."""
        key, data = f"check-{uuid.uuid4().hex}", b"sigmafarm"
        self.put(key, data, "application/octet-stream")
        if (found := self.get(key)) != data:
            raise StorageUnavailable(f"{self._where} gave {found[:20]!r} for {key}, where {data!r} was put")
        self.delete(key)

    @_translated
    def clock_ahead_s(self) -> float | None:
        """Return how far the server's clock is ahead of ours, to half a second; None where it tells no time."""
        before_s = self._clock.wall_s()
        answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._prefix, MaxKeys=1)
        said = time_of(answer["ResponseMetadata"].get("HTTPHeaders") or {})
        return None if said is None else said + 0.5 - (before_s + self._clock.wall_s()) / 2

    @_translated
    def make_bucket(self) -> bool:
        """Make the bucket unless it is there; return whether this call did."""
        if self._has_bucket():
            return False
        region = self._client.meta.region_name
        place = {} if region == DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self._client.create_bucket(Bucket=self.bucket, **place)
        except self._client.exceptions.BucketAlreadyOwnedByYou:
            return False  # another made it since we asked
        return True

    @_translated
    def put(self, key: str, data: bytes | BinaryIO, content_type: str) -> None:
        md5, size_bytes = _measure(data)
        answer = self._client.put_object(
            Bucket=self.bucket,
            Key=self._full(key),
            Body=data,
            ContentType=content_type,
            ContentMD5=base64.b64encode(md5).decode(),
        )
        self._confirm(key, md5, size_bytes, answer)

    def _confirm(self, key: str, md5: bytes, size_bytes: int, answer: dict[str, Any]) -> None:
        """Raise StorageUnavailable unless the server has these very bytes: gateways say 200 to half a body.

        An ETag that is the MD5 proves it. Under encryption with a key of its own it is another, but then the server is
        one that compares Content-MD5 itself: the size is enough. Else the object is read back.
        """
        if str(answer.get("ETag", "")).strip('"').lower() == md5.hex():
            return
        if answer.get("ServerSideEncryption") in KEYED_ENCRYPTION or answer.get("SSECustomerAlgorithm"):
            num_kept, is_whole = (kept := self.stat(key).size_bytes), kept == size_bytes
        else:
            num_kept, is_whole = self._compare(key, md5)
        if not is_whole:
            raise StorageUnavailable(
                f"{self._where} said that it stored {key}, {size_bytes} bytes, and has {num_kept} bytes that are not "
                "them: it is put again; see the server's log, or what stands between"
            )

    def _compare(self, key: str, md5: bytes) -> tuple[int, bool]:
        """Return how many bytes an object has, and whether their MD5 is this one."""
        digest, num_kept = hashlib.md5(usedforsecurity=False), 0
        try:
            for piece in self.stream(key):
                digest.update(piece)
                num_kept += len(piece)
        except NotFound:
            return 0, False
        return num_kept, digest.digest() == md5

    def get(self, key: str) -> bytes:
        return b"".join(self.stream(key))

    @_translated
    def stream(self, key: str) -> Iterator[bytes]:
        pieces = self._pieces(self._client.get_object(Bucket=self.bucket, Key=self._full(key))["Body"])
        next(pieces)  # from here on its end, whatever it is, gives the connection back
        return pieces

    @_translated
    def stat(self, key: str) -> ObjectInfo:
        try:
            head = self._client.head_object(Bucket=self.bucket, Key=self._full(key))
        except boto.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                self._client.head_bucket(Bucket=self.bucket)  # a HEAD does not say which of the two is missing
            raise
        return ObjectInfo(key, head["ContentLength"], round(head["LastModified"].timestamp() * 1000))

    @_translated
    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=self._full(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._prefix + prefix)
        try:
            for page in pages:
                for item in page.get("Contents", []):
                    modified_ms = round(item["LastModified"].timestamp() * 1000)
                    yield ObjectInfo(item["Key"].removeprefix(self._prefix), item["Size"], modified_ms)
        except (boto.BotoCoreError, boto.ClientError, boto.HTTPClientError) as error:
            raise self.explained(error) from error

    def partials(self) -> Iterator[ObjectInfo]:
        return iter(())  # an object is sent in one PUT: the server keeps it whole or not at all

    def delete_partial(self, key: str) -> None:
        raise InvalidInput(f"{key[:80]!r} is no half-written file: a bucket has none")

    @_translated
    def url(self, key: str, expires_s: int = 600) -> str:
        place = {"Bucket": self.bucket, "Key": self._full(key)}
        return self._client.generate_presigned_url("get_object", Params=place, ExpiresIn=expires_s)

    def explained(self, error: Exception) -> SigmafarmError:
        """Return the farm's error for one of boto3's: what failed, where, and the cure."""
        found = explained(self._where, error, now_s=self._clock.wall_s())
        if isinstance(found, AccessDenied):
            self._read_key_again()
        return found

    @property
    def _where(self) -> str:
        return f"bucket {self.bucket!r} at {masked(self._client.meta.endpoint_url)}"

    def _read_key_again(self) -> None:
        """Have the next call use the key as it is said now: boto reads files and variables once a client."""
        with self._making:
            if self._make_client is None or self._clock.monotonic_s() - self._made_s < KEY_AGAIN_S:
                return
            self._made_s = self._clock.monotonic_s()
            with contextlib.suppress(boto.BotoCoreError, ValueError, SigmafarmError):  # a file that is just written
                self._client = self._make_client()

    def _has_bucket(self) -> bool:
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except boto.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return False
            raise
        return True

    def _full(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _pieces(self, body: Any) -> Generator[bytes]:
        """Yield nothing, then a body's pieces."""
        try:
            with body:
                yield b""
                yield from body.iter_chunks(CHUNK_BYTES)
        except (boto.BotoCoreError, boto.HTTPClientError) as error:
            raise self.explained(error) from error


def _measure(data: bytes | BinaryIO) -> tuple[bytes, int]:
    """Return the MD5 and the number of bytes to come; a file stands where it stood."""
    if isinstance(data, bytes):
        return hashlib.md5(data, usedforsecurity=False).digest(), len(data)
    start, digest = data.tell(), hashlib.md5(usedforsecurity=False)
    while piece := data.read(CHUNK_BYTES):
        digest.update(piece)
    size_bytes = data.tell() - start
    data.seek(start)
    return digest.digest(), size_bytes


def _client(endpoint_url: str | None) -> Any:
    variables = {**env_file_values(), **{name: value for name, value in os.environ.items() if value}}
    session = Session(
        aws_access_key_id=variables.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=variables.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=variables.get("AWS_SESSION_TOKEN"),
        region_name=variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION"),
        profile_name=variables.get("AWS_PROFILE"),
    )
    return session.client(
        "s3",
        endpoint_url=endpoint_url or variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL"),
        region_name=session.region_name or DEFAULT_REGION,
        config=BotoConfig(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "max_attempts": MAX_TRIES},
            max_pool_connections=MAX_CONNECTIONS,
            tcp_keepalive=True,
        ),
    )
