"""What every object store must do: one suite, run against the folder and two S3 servers."""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sigmafarm_common.errors import InvalidInput, NotFound
from sigmafarm_common.objects import ObjectStore


class ObjectsContract:
    """Subclass with a fixture `objects` that gives an empty store."""

    def test_a_fresh_store_passes_its_own_check_and_stays_empty(self, objects: ObjectStore):
        objects.check()

        assert list(objects.list()) == []

    def test_what_is_put_is_got(self, objects: ObjectStore):
        objects.put("b1/000017-f1.png", b"\x89PNG\r\n\x00", "image/png")

        assert objects.get("b1/000017-f1.png") == b"\x89PNG\r\n\x00"

    def test_an_empty_object_is_an_object(self, objects: ObjectStore):
        objects.put("empty", b"", "text/plain")

        assert objects.get("empty") == b""
        assert objects.stat("empty").size_bytes == 0

    def test_putting_again_replaces_the_whole(self, objects: ObjectStore):
        objects.put("a/b", b"long and old", "text/plain")
        objects.put("a/b", b"new", "text/plain")

        assert objects.get("a/b") == b"new"
        assert [info.key for info in objects.list()] == ["a/b"]

    def test_a_file_is_put_from_where_it_stands(self, objects: ObjectStore):
        file = io.BytesIO(b"skipped" + b"x" * 3_000_000)
        file.seek(len(b"skipped"))

        objects.put("big", file, "application/octet-stream")

        assert objects.stat("big").size_bytes == 3_000_000

    def test_a_stream_gives_the_pieces_in_order(self, objects: ObjectStore):
        data = os.urandom(2_500_000)
        objects.put("big", data, "application/octet-stream")

        assert b"".join(objects.stream("big")) == data

    def test_stat_says_key_size_and_time(self, objects: ObjectStore):
        objects.put("a/b.png", b"12345", "image/png")

        info = objects.stat("a/b.png")

        assert (info.key, info.size_bytes) == ("a/b.png", 5)
        assert info.modified_ms > 1_600_000_000_000

    @pytest.mark.parametrize("method", ["get", "stat", "stream"])
    def test_what_is_not_there_is_not_found_at_once(self, objects: ObjectStore, method: str):
        objects.put("a/b", b"1", "text/plain")

        with pytest.raises(NotFound):
            getattr(objects, method)("a/none")

    def test_deleting_twice_is_no_error(self, objects: ObjectStore):
        objects.put("a/b", b"1", "text/plain")

        objects.delete("a/b")
        objects.delete("a/b")

        with pytest.raises(NotFound):
            objects.get("a/b")

    def test_list_gives_all_below_a_prefix_however_many(self, objects: ObjectStore):
        for number in range(30):
            objects.put(f"b1/{number:06d}-f1.png", b"1", "image/png")
        objects.put("b2/000000-f1.png", b"1", "image/png")
        objects.put("b10/000000-f1.png", b"1", "image/png")

        assert len(list(objects.list("b1/"))) == 30
        assert {info.key for info in objects.list("b1/00002")} == {f"b1/0000{n}-f1.png" for n in range(20, 30)}
        assert len(list(objects.list())) == 32
        assert list(objects.list("b3/")) == []

    @pytest.mark.parametrize(
        "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".hidden", "a\\b", "a b", "a\n"]
    )
    def test_a_key_that_could_lead_elsewhere_is_refused(self, objects: ObjectStore, key: str):
        with pytest.raises(InvalidInput, match="object key is"):
            objects.put(key, b"1", "text/plain")

    def test_many_threads_may_put_the_same_key_and_one_whole_object_remains(self, objects: ObjectStore):
        bodies = [bytes([n]) * 50_000 for n in range(8)]
        start = threading.Barrier(8)

        def put(body: bytes) -> None:
            start.wait()
            objects.put("same", body, "application/octet-stream")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, bodies))

        assert objects.get("same") in bodies

    def test_only_half_written_files_can_be_removed_as_such(self, objects: ObjectStore):
        objects.put("a/b", b"1", "text/plain")

        for key in ("a/b", "../.partial-x/y", "a/.hidden"):
            with pytest.raises(InvalidInput, match="is no half-written file"):
                objects.delete_partial(key)

        assert list(objects.partials()) == []
        assert objects.get("a/b") == b"1"

    def test_a_link_names_the_object(self, objects: ObjectStore):
        objects.put("a/b.png", b"1", "image/png")

        assert "a/b.png" in objects.url("a/b.png", expires_s=60)
