"""Where pictures lie, read from one text: the only reader of SIGMAFARM_OBJECTS_URL.

The rule: a place is taken whole, character by character, or refused with the cure; nothing of it is ever cut off, so
that two farms that were given two places never share one.

- `s3://bucket/prefix`: all that follows the bucket is the prefix as it stands, `#`, `?`, `%` and spaces included, as
  Amazon's own tools read it. One slash at its end says nothing. What S3 servers disagree about is refused: empty parts
  (`//`), `.` and `..`, unprintable characters.
- `file:///folder`: a URL, so that `%20` is a space. A bare `#` or `?` would begin another part of it: refused.
- anything else: a folder's path as it stands; `~` is the home folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

#: The longest prefix, in bytes: with the longest key it stays within the 1,024 bytes that S3 allows.
MAX_PREFIX_BYTES = 500
#: What all S3 servers take for a bucket's name, and some more that older buckets have.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class BucketPlace:
    """A bucket, and what every key in it begins with: parts split by single slashes, or nothing."""

    bucket: str
    prefix: str


@dataclass(frozen=True)
class FolderPlace:
    """A folder of this machine, absolute."""

    folder: Path


def read_place(text: str) -> BucketPlace | FolderPlace:
    """Return the place that a text names. Raises ValueError with the cure for one that cannot be taken whole."""
    if not text or text != text.strip() or _CONTROL.search(text):
        raise ValueError("must be a place without spaces at its ends or control characters in it")
    scheme = _SCHEME.match(text)
    kind = scheme[1].lower() if scheme else ""
    if kind == "s3":
        return _bucket(text[len("s3:") :])
    if kind == "file":
        return FolderPlace(_folder_of_url(text[len("file:") :]))
    if kind and text[len(kind) :].startswith("://"):
        raise ValueError("must be s3://bucket/prefix, file:///folder or a folder's path")
    return FolderPlace(_folder(text))


def _bucket(rest: str) -> BucketPlace:
    bucket, slash, prefix = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not bucket:
        raise ValueError("must name a bucket, as in s3://bucket/prefix")
    if "@" in bucket or ":" in bucket:
        raise ValueError(
            "must hold nothing but a bucket and a prefix, as in s3://bucket/prefix: keys belong into "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the server into SIGMAFARM_S3_ENDPOINT_URL"
        )
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            "must name a bucket of letters, digits, dots, dashes and underscores, as in s3://bucket/prefix: what "
            "stands before the next slash is none"
        )
    return BucketPlace(bucket, _prefix(prefix.removesuffix("/")) if slash else "")


def _prefix(prefix: str) -> str:
    if not prefix:
        return ""
    if any(part in ("", ".", "..") or part != part.strip() for part in prefix.split("/")):
        raise ValueError(
            "must have a prefix whose parts are split by single slashes, none of them empty, `.` or `..`, none with a "
            "space at its end: servers disagree about the others"
        )
    if not prefix.isprintable() or "\\" in prefix:
        raise ValueError("must have a prefix of printable characters without backslashes: servers refuse the others")
    if len(prefix.encode()) > MAX_PREFIX_BYTES:
        raise ValueError(f"must have a prefix of at most {MAX_PREFIX_BYTES} bytes: keys in S3 have 1,024 in all")
    return prefix


def _folder_of_url(rest: str) -> Path:
    host, slash, path = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not slash or host.lower() not in ("", "localhost"):
        raise ValueError("must hold an absolute path after three slashes, as in file:///folder")
    if "#" in path or "?" in path or _LONE_PERCENT.search(path):
        raise ValueError("must spell #, ? and % as %23, %3F and %25 in a file:// URL; a plain path needs none of that")
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        decoded = "\x00"
    if _CONTROL.search(decoded):
        raise ValueError("must be UTF-8 without control characters once its %XX are read: name a plain path instead")
    return Path("/" + decoded)


def _folder(text: str) -> Path:
    try:
        folder = Path(text).expanduser() if text.startswith("~") else Path(text)
        return folder.absolute()
    except RuntimeError:
        raise ValueError("must begin with a home folder that exists, or with ./ where ~ is part of a name") from None
