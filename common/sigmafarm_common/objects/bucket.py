"""`python -m sigmafarm_common.objects.bucket`: makes the bucket of SIGMAFARM_OBJECTS_URL unless it is there.

For a fresh S3 server, such as the one in docker-compose.yml; a farm in the cloud is given its bucket. Exit codes: 0 it
is there, 2 the settings name no bucket, 3 the server is out of reach or refuses.
"""

from __future__ import annotations

import sys

from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidSettings, SigmafarmError
from sigmafarm_common.objects.opening import open_objects
from sigmafarm_common.objects.s3 import S3Store
from sigmafarm_common.visible import visible


def make_bucket(config: Config) -> str:
    """Make the bucket unless it is there, and return what was done. Raises InvalidSettings where there is none to
    make, StorageUnavailable, AccessDenied."""
    objects = open_objects(config)
    if not isinstance(objects, S3Store):
        raise InvalidSettings(
            f"SIGMAFARM_OBJECTS_URL is {config.objects_place}, no bucket: set it to s3://bucket or s3://bucket/prefix"
        )
    return f"bucket {objects.bucket} is {'made' if objects.make_bucket() else 'there'}"


def main() -> int:
    """Run the command and return its exit code."""
    try:
        sys.stdout.write(make_bucket(Config.load()) + "\n")
    except SigmafarmError as error:
        sys.stderr.write(visible(f"sigmafarm: {error}") + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
