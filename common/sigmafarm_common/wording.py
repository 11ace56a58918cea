"""How sentences to people say numbers of things; pages of the dashboard part thousands with thin spaces."""

from __future__ import annotations


def numbered(num: int, noun: str, plural: str = "") -> str:
    """Return how many there are of something: `1 job`, `12,000 jobs`; `plural` where it is not the noun and an s."""
    return f"{num:,} {noun if num == 1 else plural or noun + 's'}"
