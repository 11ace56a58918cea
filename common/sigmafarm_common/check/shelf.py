"""The objects of one batch as they were listed: taken off as their jobs are looked at, so that the rest are strays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sigmafarm_common.manifest import manifest_key
from sigmafarm_common.objects.protocol import ObjectInfo
from sigmafarm_common.picture_keys import parsed


class Shelf:
    """What lies under a batch's prefix."""

    def __init__(self, batch_id: str, objects: Iterable[ObjectInfo]):
        self.has_manifest = False
        #: Objects that are neither pictures nor the manifest.
        self.strange: list[ObjectInfo] = []
        self._of_row: dict[int, list[ObjectInfo]] = defaultdict(list)
        for found in objects:
            picture = parsed(found.key)
            if found.key == manifest_key(batch_id):
                self.has_manifest = True
            elif picture is None:
                self.strange.append(found)
            else:
                self._of_row[picture.row].append(found)

    def take(self, row: int) -> list[ObjectInfo]:
        """Take off the objects of a row."""
        return self._of_row.pop(row, [])

    def left(self) -> list[ObjectInfo]:
        """Return the pictures of rows that nobody took."""
        return [found for row in self._of_row.values() for found in row]
