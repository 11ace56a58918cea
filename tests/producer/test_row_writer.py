"""Chunks on their way into the store: in order, one at a time, and nothing after an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sigmafarm.row_writer import CHUNK_ROWS, write_chunks
from sigmafarm_common.errors import StoreUnavailable
from sigmafarm_common.settings import RenderRequest
from tests.limits import LIMIT_S

FULL = [RenderRequest(prompt="a")] * CHUNK_ROWS


def test_a_full_chunk_is_written_while_the_next_is_made() -> None:
    is_made = threading.Event()
    written: list[int] = []

    def chunks() -> Iterator[list[RenderRequest]]:
        yield FULL
        is_made.set()
        yield FULL[:7]

    def write(chunk: list[RenderRequest]) -> None:
        assert is_made.wait(LIMIT_S), "the next one is made meanwhile"
        written.append(len(chunk))

    write_chunks(chunks(), write)

    assert written == [CHUNK_ROWS, 7]


def test_a_chunk_that_is_not_full_is_written_before_more_is_asked_for() -> None:
    written: list[int] = []

    def chunks() -> Iterator[list[RenderRequest]]:
        for num in (3, 4):
            before = len(written)
            yield FULL[:num]
            assert len(written) == before + 1

    write_chunks(chunks(), lambda chunk: written.append(len(chunk)))

    assert written == [3, 4]


def test_nothing_is_written_after_a_write_that_failed() -> None:
    written: list[int] = []

    def write(chunk: list[RenderRequest]) -> None:
        written.append(len(chunk))
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        write_chunks(iter([FULL] * 5), write)

    assert written == [CHUNK_ROWS]


def test_an_error_of_the_rows_is_raised_once_nothing_is_being_written() -> None:
    has_ended = []
    is_over = threading.Event()

    def chunks() -> Iterator[list[RenderRequest]]:
        yield FULL
        is_over.set()
        raise ValueError("a bad row")

    def write(chunk: list[RenderRequest]) -> None:
        is_over.wait(LIMIT_S)
        has_ended.append(True)

    with pytest.raises(ValueError, match="a bad row"):
        write_chunks(chunks(), write)

    assert has_ended
