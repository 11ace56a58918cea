"""What a value of a configuration may be: a rule is a question that is asked of the value, and the words of the answer.

Truth is no number here, though Python counts with it, and what is not finite is none either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

#: Whether a value is what it must be.
Fits = Callable[[Any], bool]
#: The largest number of channels, words or places: beyond it a network would be built for hours, or end its process.
MAX_COUNT = 1_000_000
#: The largest number of layers behind each other.
MAX_LAYERS = 100


class Rule(NamedTuple):
    """What one key must be."""

    fits: Fits
    #: Goes on after "must be".
    words: str
    #: A key that may be left out takes what its class fills in.
    is_required: bool = False


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    return is_whole(value) and 0 < value <= MAX_COUNT


def is_layer_count(value: Any) -> bool:
    return is_whole(value) and 0 < value <= MAX_LAYERS


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def is_fraction(value: Any) -> bool:
    return is_number(value) and 0 < value < 1


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_word(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def one_of(*values: Any) -> Fits:
    """Return whether a value is one of these; a number is no truth, though Python finds them equal."""
    return lambda value: any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values)


def is_list_of(fits: Fits) -> Fits:
    return lambda value: isinstance(value, list | tuple) and len(value) > 0 and all(fits(each) for each in value)


def or_null(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def either(*fits: Fits) -> Fits:
    return lambda value: any(fit(value) for fit in fits)


def named(kinds: Sequence[str], *, is_required: bool = False) -> Rule:
    """Return the rule of a list of these names, one for each level."""
    return Rule(is_list_of(one_of(*kinds)), f"a list of {', '.join(kinds)}", is_required)


TRUTH = Rule(is_truth, "true or false")
TRUTH_OR_NULL = Rule(or_null(is_truth), "true or false")
COUNT = Rule(is_count, f"a whole number from 1 to {MAX_COUNT}")
NEEDED = Rule(is_count, f"a whole number from 1 to {MAX_COUNT}", is_required=True)
