"""Pictures that jobs draw from live as long as a batch that uses them, and for a time beside that. CONFIG keeps them
for 50 seconds, and batches for 100."""

from __future__ import annotations

import pytest

from sigmafarm_common.errors import InvalidRequest, NotFound, QuotaExceeded
from sigmafarm_common.records import Upload
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.store.protocol import Store
from tests.common.contracts.retention import conclude
from tests.common.store_contract import FakeMs, claim_all, dispatch, request, submit

#: Longer than CONFIG keeps an unused upload.
KEPT_S = 50


def picture(digit: str = "a", *, owner: str = "ann", size_bytes: int = 100, is_linked: bool = False) -> Upload:
    sha256 = digit * 64
    return Upload(
        sha256=sha256,
        owner=owner,
        key=f"uploads/{owner}/{sha256}.png",
        size_bytes=size_bytes,
        width=64,
        height=32,
        is_linked=is_linked,
    )


def begun_with(*uploads: Upload, field: str = "init_image") -> list[RenderRequest]:
    return [request().model_copy(update={field: upload.name, "seed": n}) for n, upload in enumerate(uploads)]


class UploadContract:
    def test_upload_is_its_owners_alone(self, store: Store, clock: FakeMs) -> None:
        noted = store.note_upload(picture())

        assert noted == picture().model_copy(update={"created_ms": clock.now_ms})
        assert store.upload("ann", "a" * 64) == noted
        with pytest.raises(NotFound, match="there is no picture 'sha256:aaa"):
            store.upload("ben", "a" * 64)
        with pytest.raises(InvalidRequest, match=r"init_image is 'sha256:aaa.*no such picture"):
            submit(store, requests=begun_with(noted), owner="ben")

    def test_same_content_is_one_upload_and_the_first_key_counts(self, store: Store) -> None:
        first = store.note_upload(picture())

        second = store.note_upload(picture().model_copy(update={"key": "uploads/ann/later.png"}))

        assert second.key == first.key
        assert store.touch_upload("ann", "a" * 64) == first
        assert store.touch_upload("ann", "b" * 64) is None

    def test_unused_upload_is_forgotten_after_its_time_and_its_object_is_to_be_removed(
        self, store: Store, clock: FakeMs
    ) -> None:
        store.note_upload(picture("a"))
        clock.advance(KEPT_S - 1)
        store.note_upload(picture("b"))
        store.touch_upload("ann", "a" * 64)
        clock.advance(KEPT_S - 1)
        assert (store.drop_uploads(), store.deletions()) == (0, [])
        clock.advance(1)

        assert store.drop_uploads() == 2

        keys = [picture("a").key, picture("b").key]
        assert store.deletions() == keys
        with pytest.raises(NotFound):
            store.upload("ann", "a" * 64)
        store.note_deleted(keys[:1])
        assert store.deletions() == keys[1:]

    def test_upload_is_kept_as_long_as_a_batch_that_uses_it(self, store: Store, clock: FakeMs) -> None:
        used = store.note_upload(picture())
        batch, other = (submit(store, requests=begun_with(used, used)) for _ in range(2))
        clock.advance(2 * KEPT_S)
        assert store.drop_uploads() == 0
        assert set(store.upload("ann", used.sha256).batches) == {batch.id, other.id}

        conclude(store, batch)
        conclude(store, other)
        clock.advance(100)
        assert set(store.forget_batches()) == {batch.id, other.id}

        assert store.upload("ann", used.sha256).num_batches == 0
        clock.advance(KEPT_S - 1)
        assert store.drop_uploads() == 0, "unused from the time when the last batch went"
        clock.advance(1)
        assert store.drop_uploads() == 1

    def test_submit_and_removal_end_in_a_kept_picture_or_a_refusal(self, store: Store, clock: FakeMs) -> None:
        early, late = store.note_upload(picture("a")), store.note_upload(picture("b"))
        clock.advance(KEPT_S)
        begun = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(begun.batch_id, begun_with(early))

        assert store.drop_uploads() == 1

        assert store.upload("ann", early.sha256).num_batches == 1
        with pytest.raises(InvalidRequest, match=r"mask_image is 'sha256:bbb.*upload it, then submit again"):
            store.add_rows(begun.batch_id, begun_with(late, field="mask_image"))
        store.discard_batch(begun.batch_id)
        assert store.upload("ann", early.sha256).num_batches == 0
        clock.advance(KEPT_S)
        assert store.drop_uploads() == 1

    def test_batch_of_very_many_pictures_lets_go_of_all(self, store: Store, clock: FakeMs) -> None:
        uploads = [store.note_upload(u) for u in (picture_of(n) for n in range(1200))]
        batch = submit(store, requests=begun_with(*uploads))
        left = store.begin_batch(name="x", owner="ann", priority=0, defaults={})
        store.add_rows(left.batch_id, begun_with(*uploads))

        store.discard_batch(left.batch_id)
        conclude(store, batch)
        clock.advance(100)
        while batch.id not in store.forget_batches():
            pass

        assert {store.upload("ann", u.sha256).num_batches for u in uploads[::100]} == {0}
        clock.advance(KEPT_S)
        assert sum(iter(store.drop_uploads, 0)) == 1200

    def test_workers_find_the_pictures_of_a_batch(self, store: Store) -> None:
        used = store.note_upload(picture())
        batch = submit(store, requests=begun_with(used))

        (claim,) = claim_all(store, dispatch(store))

        assert claim.request.init_image == used.name
        assert store.upload_of(batch.id, used.sha256).key == used.key
        with pytest.raises(NotFound):
            store.upload_of(batch.id, "b" * 64)
        with pytest.raises(NotFound):
            store.upload_of("0" * 15, used.sha256)

    def test_uploads_beyond_an_owners_bytes_are_refused_until_some_are_gone(self, store: Store, clock: FakeMs) -> None:
        store.note_upload(picture("a", size_bytes=600), max_bytes=1000)

        with pytest.raises(QuotaExceeded, match="pictures of owner ann have 600 bytes, and may have 1000"):
            store.note_upload(picture("b", size_bytes=401), max_bytes=1000)
        store.note_upload(picture("a", size_bytes=600), max_bytes=1000)
        store.note_upload(picture("b", size_bytes=401, owner="ben"), max_bytes=1000)
        store.note_upload(picture("c", size_bytes=10**9, is_linked=True), max_bytes=1000)
        clock.advance(KEPT_S)
        store.drop_uploads()
        store.note_upload(picture("b", size_bytes=1000), max_bytes=1000)

    def test_picture_of_a_job_is_never_removed(self, store: Store, clock: FakeMs) -> None:
        store.note_upload(picture(is_linked=True))
        clock.advance(KEPT_S)

        assert (store.drop_uploads(), store.deletions()) == (1, [])


def picture_of(n: int) -> Upload:
    sha256 = f"{n:064x}"
    return picture().model_copy(update={"sha256": sha256, "key": f"uploads/ann/{sha256}.png"})
