"""How prompts of any length are laid into chunks: figures worked out from AUTOMATIC1111's rules."""

from __future__ import annotations

from sigmafarm_worker.models.chunks import COMMA_REACH, Group, Special, fill_chunks

START, END, PADDING, COMMA = 100, 101, 102, 7
SPECIAL = Special(START, END, PADDING, COMMA)


def words(*ids: int, weight: float = 1.0) -> list[Group]:
    return [Group((each,), weight) for each in ids]


def laid(groups: list[Group], num_tokens: int = 77) -> list[list[int]]:
    return [[token for token, _ in chunk] for chunk in fill_chunks(groups, num_tokens, SPECIAL)]


def test_a_short_prompt_is_one_chunk_with_start_end_and_padding():
    assert laid(words(1, 2), 6) == [[START, 1, 2, END, PADDING, PADDING]]
    assert laid([], 4) == [[START, END, PADDING, PADDING]]


def test_a_full_chunk_has_its_end_last_and_the_rest_goes_to_the_next():
    assert laid(words(1, 2, 3), 4) == [[START, 1, 2, END], [START, 3, END, PADDING]]


def test_a_break_ends_a_chunk_be_it_empty():
    assert laid([*words(1), Group(None), *words(2)], 4) == [[START, 1, END, PADDING], [START, 2, END, PADDING]]
    assert laid([Group(None), *words(2)], 4) == [[START, END, PADDING, PADDING], [START, 2, END, PADDING]]


def test_what_follows_a_near_comma_goes_to_the_next_chunk_and_after_a_far_one_it_does_not():
    near = [*([1] * 70), COMMA, *([2] * 6)]
    far = [*([1] * (75 - COMMA_REACH - 1)), COMMA, *([2] * (COMMA_REACH + 2))]

    first, second = laid(words(*near))
    assert first == [START, *([1] * 70), COMMA, END, *([PADDING] * 4)]
    assert second[:8] == [START, *([2] * 6), END]
    first, second = laid(words(*far))
    assert first[-2:] == [2, END]
    assert second[:4] == [START, 2, 2, END]


def test_a_comma_that_would_be_first_begins_the_next_chunk():
    first, second = laid(words(*([1] * 75), COMMA, 2))

    assert first[1:-1] == [1] * 75
    assert second[:4] == [START, COMMA, 2, END]


def test_a_group_is_never_torn_apart():
    assert laid([*words(1, 2), Group((8, 9))], 5) == [[START, 1, 2, END, PADDING], [START, 8, 9, END, PADDING]]


def test_weights_stay_with_their_tokens_and_all_else_weighs_one():
    (chunk,) = fill_chunks([*words(1), *words(2, weight=1.5)], 6, SPECIAL)

    assert [weight for _, weight in chunk] == [1, 1, 1.5, 1, 1, 1]
