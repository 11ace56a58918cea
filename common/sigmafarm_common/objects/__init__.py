"""Object stores: where pictures and manifests lie. `open_objects(config)` opens the one that the settings name."""

from sigmafarm_common.objects.opening import open_objects
from sigmafarm_common.objects.protocol import ObjectInfo, ObjectStore

__all__ = ["ObjectInfo", "ObjectStore", "open_objects"]
