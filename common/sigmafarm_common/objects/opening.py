"""Opens the object store that the settings name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from sigmafarm_common.config import Config
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.objects.protocol import ObjectStore


def open_objects(config: Config) -> ObjectStore:
    """Return the object store of `config.objects_place`; nothing is asked of it yet (see `check`)."""
    place = config.objects_place
    parts = urlsplit(place)
    if parts.scheme == "s3":
        from sigmafarm_common.objects.s3 import S3Store  # boto3 takes a third of a second: only where it is needed

        return S3Store.open(parts.netloc, prefix=parts.path.strip("/"), endpoint_url=config.s3_endpoint_url)
    return FolderStore(Path(unquote(parts.path)) if parts.scheme == "file" else Path(place))
