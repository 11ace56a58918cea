"""The object store in a bucket of any S3-compatible server, by boto3.

Written for servers other than Amazon's too: path style, signature s3v4, checksums only where the protocol demands them.
Every call has bounded timeouts and few retries; a job's own retries come on top. AWS_* variables keep their meaning,
from the environment and from .env.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

from boto3.session import Session
from botocore import exceptions as boto
from botocore.config import Config as BotoConfig

from sigmafarm_common.config import env_file_values, masked
from sigmafarm_common.errors import AccessDenied, NotFound, SigmafarmError, StorageUnavailable
from sigmafarm_common.objects.protocol import CHUNK_BYTES, ObjectInfo, checked_key

#: Longest waits for a connection and for the next bytes, in seconds.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 20
#: Tries of one call, the first included.
MAX_TRIES = 3
#: Connections that one process keeps open.
MAX_CONNECTIONS = 32
#: The region of servers that have none.
DEFAULT_REGION = "us-east-1"
#: What servers call a secret or a right that is not enough.
DENIALS = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "403", "401"}
)

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

    def __init__(self, client: Any, bucket: str, prefix: str = ""):
        self._client = client
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @classmethod
    def open(cls, bucket: str, *, prefix: str = "", endpoint_url: str | None = None) -> S3Store:
        """Make the client; nothing is asked of the server yet. Raises StorageUnavailable if it cannot."""
        try:
            return cls(_client(endpoint_url), bucket, prefix)
        except (boto.BotoCoreError, ValueError) as error:
            raise StorageUnavailable(
                f"no S3 client for bucket {bucket!r}: {masked(str(error))}; check SIGMAFARM_S3_ENDPOINT_URL and AWS_*"
            ) from error

    @_translated
    def check(self) -> None:
        self._client.head_bucket(Bucket=self.bucket)
        key = f"{self._prefix}check-{uuid.uuid4().hex}"
        self._client.put_object(Bucket=self.bucket, Key=key, Body=b"sigmafarm")
        self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        self._client.delete_object(Bucket=self.bucket, Key=key)

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
        self._client.put_object(Bucket=self.bucket, Key=self._full(key), Body=data, ContentType=content_type)

    def get(self, key: str) -> bytes:
        return b"".join(self.stream(key))

    @_translated
    def stream(self, key: str) -> Iterator[bytes]:
        return self._pieces(self._client.get_object(Bucket=self.bucket, Key=self._full(key))["Body"])

    @_translated
    def stat(self, key: str) -> ObjectInfo:
        head = self._client.head_object(Bucket=self.bucket, Key=self._full(key))
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

    @_translated
    def url(self, key: str, expires_s: int = 600) -> str:
        place = {"Bucket": self.bucket, "Key": self._full(key)}
        return self._client.generate_presigned_url("get_object", Params=place, ExpiresIn=expires_s)

    def explained(self, error: Exception) -> SigmafarmError:
        """Return the farm's error for one of boto3's: what failed, where, and the cure."""
        where = f"bucket {self.bucket!r} at {masked(self._client.meta.endpoint_url)}"
        if isinstance(error, boto.ClientError):
            return _answered(where, error)
        if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)):
            return AccessDenied(f"{where} needs a key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if isinstance(error, boto.ParamValidationError):
            return StorageUnavailable(f"{where} cannot exist: {error}; mend its name in SIGMAFARM_OBJECTS_URL")
        if isinstance(error, (boto.HTTPClientError, boto.ConnectionError)):
            return StorageUnavailable(
                f"{where} does not answer ({type(error).__name__}); check that the server runs and that "
                "SIGMAFARM_S3_ENDPOINT_URL (or AWS_ENDPOINT_URL) is its address"
            )
        return StorageUnavailable(
            f"{where} does not answer as an S3 server does ({masked(str(error))}); check SIGMAFARM_S3_ENDPOINT_URL"
        )

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

    def _pieces(self, body: Any) -> Iterator[bytes]:
        try:
            with body:
                yield from body.iter_chunks(CHUNK_BYTES)
        except (boto.BotoCoreError, boto.HTTPClientError) as error:
            raise self.explained(error) from error


def _answered(where: str, error: boto.ClientError) -> SigmafarmError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket" or (error.operation_name == "HeadBucket" and status == 404):
        return StorageUnavailable(f"{where} does not exist: create it, or name another in SIGMAFARM_OBJECTS_URL")
    if status == 404:
        return NotFound(f"{where} has no such object (any more)")
    if code in DENIALS or status in (401, 403):
        return AccessDenied(
            f"{where} refuses our key ({code}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that the key "
            "may read, write and delete there"
        )
    return StorageUnavailable(
        f"{where} answers {status} {code} {message[:200]}: see the server's log, and check that "
        "SIGMAFARM_S3_ENDPOINT_URL names an S3 server"
    )


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
