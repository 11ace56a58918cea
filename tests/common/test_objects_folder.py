"""The folder as an object store: the contract, and what only a folder can get wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidInput, NotFound, StorageUnavailable
from sigmafarm_common.objects import ObjectStore, open_objects
from sigmafarm_common.objects.folder import FolderStore
from tests.common.objects_contract import ObjectsContract


class TestFolder(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path: Path) -> ObjectStore:
        return FolderStore(tmp_path / "made" / "when needed")


def test_an_error_midway_leaves_neither_object_nor_part(tmp_path: Path):
    class Breaking:
        def read(self, _size: int = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    objects = FolderStore(tmp_path)
    broken: Any = Breaking()

    with pytest.raises(StorageUnavailable, match="Input/output error; check SIGMAFARM_OBJECTS_URL"):
        objects.put("a/b", broken, "text/plain")

    assert os.listdir(tmp_path / "a") == []


def test_an_unfinished_file_of_a_crash_is_no_object(tmp_path: Path):
    (tmp_path / ".partial-x").write_bytes(b"half")

    assert list(FolderStore(tmp_path).list()) == []


def test_an_unfinished_file_is_listed_apart_and_removed_within_the_folder_only(tmp_path: Path):
    objects = FolderStore(tmp_path / "objects")
    objects.put("b/1", b"1", "text/plain")
    (tmp_path / "objects" / "b" / ".partial-x").write_bytes(b"half")
    (tmp_path / ".partial-y").write_bytes(b"another's")

    assert [found.key for found in objects.partials()] == ["b/.partial-x"]
    objects.delete_partial("b/.partial-x")
    objects.delete_partial("b/.partial-x")
    for key in ("../.partial-y", "b/../../.partial-y", "/.partial-y"):
        with pytest.raises(InvalidInput):
            objects.delete_partial(key)

    assert [found.key for found in objects.list()] == ["b/1"]
    assert list(objects.partials()) == []
    assert (tmp_path / ".partial-y").exists()


def test_a_put_that_cannot_be_is_unavailable_and_never_not_found(tmp_path: Path):
    objects = FolderStore(tmp_path)
    objects.put("a/b", b"1", "text/plain")

    with pytest.raises(StorageUnavailable):
        objects.put("a", b"1", "text/plain")
    with pytest.raises(StorageUnavailable):
        objects.put("a/b/c", b"1", "text/plain")


def test_bytes_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b))[1])

    FolderStore(tmp_path).put("a", b"1", "text/plain")

    assert order == ["fsync", "replace", "fsync"]


def test_a_full_disk_says_so(tmp_path: Path):
    error = FolderStore(tmp_path).explained(OSError(errno.ENOSPC, "No space left on device"))

    assert isinstance(error, StorageUnavailable)
    assert "the disk of" in str(error)
    assert "is full; free some space" in str(error)


def test_a_place_that_is_a_file_is_named_at_the_check(tmp_path: Path):
    place = tmp_path / "file"
    place.write_text("not a folder")

    with pytest.raises(StorageUnavailable, match="check SIGMAFARM_OBJECTS_URL"):
        FolderStore(place).check()


def test_listing_cannot_climb_out(tmp_path: Path):
    with pytest.raises(InvalidInput):
        FolderStore(tmp_path / "in").list("../")


def test_a_folder_asked_for_as_an_object_is_not_found(tmp_path: Path):
    objects = FolderStore(tmp_path)
    objects.put("a/b", b"1", "text/plain")

    with pytest.raises(NotFound):
        objects.get("a")


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_opens_by_path_and_by_url(tmp_path: Path, form: str):
    objects = open_objects(Config(objects_url=form.format(tmp_path)))
    objects.put("a", b"1", "text/plain")

    assert (tmp_path / "a").read_bytes() == b"1"


def test_the_default_place_is_the_data_folder(tmp_path: Path):
    open_objects(Config(data_dir=tmp_path)).put("a", b"1", "text/plain")

    assert (tmp_path / "objects" / "a").is_file()
