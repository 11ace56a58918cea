"""Spans of time in words: as narrow as is known, and no more digits than a guess has."""

from __future__ import annotations

import pytest

from sigmafarm.spans import ordinal, span_range


@pytest.mark.parametrize(
    ("least_s", "most_s", "words"),
    [
        (250, 350, "about 4 to 6 min"),
        (240, 240, "about 4 min"),
        (241, None, "more than 4 min"),
        (0.4, None, ""),
        (0, 100, "less than 2 min"),
        (0.5, 0.9, "about 1 s"),
        (3, 5.2, "about 3 to 6 s"),
        (23, 41, "about 20 to 45 s"),
        (61, 95, "about 60 to 100 s"),
        (65, 200, "about 60 s to 4 min"),
        (4000, 5000, "about 60 to 90 min"),
        (7300, 9000, "about 2 to 3 h"),
        (10_000, 40_000_000, "about 2 h to 470 d"),
        (200_000, 400_000, "about 2 to 5 d"),
    ],
)
def test_a_range_says_what_is_known(least_s: float, most_s: float | None, words: str):
    assert span_range(least_s, most_s) == words


def test_places_in_a_row():
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 111, 1002)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th", "1,002nd")
    ]
