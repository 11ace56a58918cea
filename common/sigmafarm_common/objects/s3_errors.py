"""What a bucket's server answers when it refuses or fails, in the farm's errors: where, in its own words, and the cure.

| what is wrong | class | can waiting help |
|---|---|---|
| the key, its rights, its time (401, 403, ExpiredToken, ...) | AccessDenied | no: somebody has to act |
| this machine's clock (RequestTimeTooSkewed) | AccessDenied | no |
| no such bucket, the wrong region, no room (QuotaExceeded, 507) | StorageUnavailable | once somebody has acted |
| SlowDown, 503, RequestTimeout, InternalError, anything unknown | StorageUnavailable | yes |
| no such object (404 to a GET or HEAD) | NotFound | |

A worker keeps its finished pictures under each of them and tries again: see worker/sigmafarm_worker/service/outlet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self

from botocore import exceptions as boto

from sigmafarm_common.config import masked
from sigmafarm_common.errors import AccessDenied, NotFound, SigmafarmError, StorageUnavailable

#: What servers call a key or a right that is not enough. Most say it with 401 or 403, some with 400.
DENIALS = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidToken",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnauthorizedAccess",
    }
)
#: What they call a clock that is too far from theirs.
SKEWS = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
#: What they call a bucket, a quota or a disk that is full; Ceph says QuotaExceeded with 403.
FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageQuotaExceeded"})
#: Operations that may find no object; any other 404 means that the server is not what we take it for.
SEEKERS = frozenset({"GetObject", "HeadObject"})
#: What they say of a bucket in another region.
ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
#: Longest piece of a server's message that is repeated.
MAX_MESSAGE_CHARS = 200


@dataclass(frozen=True)
class Answer:
    """A server's refusal, taken apart."""

    operation: str
    status: int
    code: str
    message: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, error: boto.ClientError) -> Self:
        said: Mapping[str, Any] = error.response.get("Error", {})
        meta: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
        return cls(
            operation=error.operation_name,
            status=int(meta.get("HTTPStatusCode") or 0),
            code=str(said.get("Code") or ""),
            message=str(said.get("Message") or "")[:MAX_MESSAGE_CHARS],
            headers=meta.get("HTTPHeaders") or {},
        )

    @property
    def words(self) -> str:
        """The status, and the server's own code and message as far as it said any."""
        return f"{self.status} {self.code}: {self.message}" if self.message else f"{self.status} {self.code}".strip()


def explained(where: str, error: Exception, *, now_s: float) -> SigmafarmError:
    """Return the farm's error for one of boto3's. `where` names the bucket and its server; now_s is the time here."""
    if isinstance(error, boto.ClientError):
        return _refused(where, Answer.of(error), now_s)
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)):
        said = masked(str(error)).removesuffix(".")
        return AccessDenied(f"{where} needs a key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({said})")
    if isinstance(error, boto.ProfileNotFound):
        return AccessDenied(f"{where} needs a key, and {masked(str(error))}: check AWS_PROFILE")
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


def _refused(where: str, answer: Answer, now_s: float) -> SigmafarmError:
    is_bucket_missing = answer.code == "NoSuchBucket" or (answer.operation == "HeadBucket" and answer.status == 404)
    if is_bucket_missing:
        return StorageUnavailable(
            f"{where} does not exist: create it, or name another in SIGMAFARM_OBJECTS_URL ({answer.words})"
        )
    if answer.status == 404 and answer.operation in SEEKERS:
        return NotFound(f"{where} has no such object (any more)")
    if answer.code in SKEWS:
        return AccessDenied(
            f"{where} refuses this machine's clock{_skew(answer, now_s)}: run NTP here ({answer.words})"
        )
    if answer.code in FULL or answer.status == 507:
        return StorageUnavailable(f"{where} is full: make room there or raise its quota ({answer.words})")
    if answer.code in ELSEWHERE or answer.status == 301:
        region = answer.headers.get("x-amz-bucket-region", "")
        there = f"set AWS_REGION to {region}" if region else "set AWS_REGION to its own"
        return StorageUnavailable(f"{where} lies in another region: {there} ({answer.words})")
    if answer.code in DENIALS or answer.status in (401, 403):
        return AccessDenied(
            f"{where} refuses our key ({answer.words}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that "
            "the key may read, write and delete there"
        )
    return StorageUnavailable(
        f"{where} answers {answer.words}; see the server's log, and check that SIGMAFARM_S3_ENDPOINT_URL names an S3 "
        "server"
    )


def _skew(answer: Answer, now_s: float) -> str:
    """Return how far this machine's clock is from the server's, as far as the server says what time it is."""
    at_s = time_of(answer.headers)
    if at_s is None:
        return ""
    skew_s = now_s - at_s
    return f", which is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} its own"


def time_of(headers: Mapping[str, str]) -> float | None:
    """Return when a server answered by its own clock, in whole seconds since 1970; None where it does not say."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None
