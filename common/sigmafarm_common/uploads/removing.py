"""Removes pictures that no batch has used for a time: first the record, then the object, which stands among the
deletions until it is gone."""

from __future__ import annotations

from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.store.protocol import ConcluderSide
from sigmafarm_common.uploads.storing import UPLOAD_KEY


def remove_unused(store: ConcluderSide, objects: ObjectStore) -> list[str]:
    """Forget uploads whose time is over and remove objects of forgotten ones, some at a time; return their keys.

    Raises StoreUnavailable, or StorageUnavailable: what is not removed now is tried again the next time.
    """
    store.drop_uploads()
    listed = store.deletions()
    keys = [key for key in listed if UPLOAD_KEY.fullmatch(key)]  # a hand may have put any other there: it stays
    for key in keys:
        objects.delete(key)
    store.note_deleted(listed)
    return keys
