"""Opens the object store that the settings name."""

from __future__ import annotations

from sigmafarm_common.config import Config
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.place import BucketPlace


def open_objects(config: Config) -> ObjectStore:
    """Return the object store of `config.place`; nothing is asked of it yet (see `check`)."""
    place = config.place
    if isinstance(place, BucketPlace):
        from sigmafarm_common.objects.s3 import S3Store  # boto3 takes a third of a second: only where it is needed

        return S3Store.open(place.bucket, prefix=place.prefix, endpoint_url=config.s3_endpoint_url)
    return FolderStore(place.folder)
