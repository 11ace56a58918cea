"""Figures in words."""

from __future__ import annotations

import pytest

from sigmafarm.http.dashboard import wording


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0.44, "0.4 s"),
        (9, "9 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (7260, "2 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("ms_ago", "words"), [(0, "just now"), (-9000, "just now"), (40_000, "40 s ago"), (3.7e6, "1 h ago")]
)
def test_ages(ms_ago: float, words: str) -> None:
    assert wording.age(1_000_000_000_000, 1_000_000_000_000 + ms_ago) == words


def test_no_time_is_a_dash() -> None:
    assert wording.age(0, 5) == wording.clock(0) == "–"


def test_counts_rates_and_sizes() -> None:
    assert [wording.number(n) for n in (7, 1234567)] == ["7", "1\u202f234\u202f567"]
    assert [wording.rate(n) for n in (0.123, 12.34, 123.4)] == ["0.12", "12.3", "123"]
    assert [wording.size(n) for n in (812, 4_200_000, 17e9, 5e15)] == ["812 B", "4.2 MB", "17 GB", "5000.0 TB"]
    assert [wording.jobs(n) for n in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]


def test_control_characters_are_drawn_and_long_texts_cut() -> None:
    assert wording.visible("a\x00b\x1b\x7f\n") == "a␀b␛␡\n"
    assert wording.shortened("a  \n b", 10) == "a b"
    assert wording.shortened("abcdef", 4) == "abc…"
    assert wording.code("out_of_device_memory") == "Out of device memory"
