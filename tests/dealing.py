"""How the tests are dealt to the processes that share them (pytest-xdist).

Each process gets an equal part of the list, in order; who is done takes over from another's end (`--dist worksteal`).
Half of the processes begin with tests that mostly wait, for farms of other processes and for browsers, the rest with
those that compute: at any time there are some of each. Tests that share a costly fixture stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest

#: The folders of the tests that mostly wait.
WAITING = frozenset({"browser", "chaos", "e2e", "servers"})
#: Fixtures that cost seconds, and are shared by the tests of a process that ask for them.
SHARED = ("living", "up", "browser")
#: The files with the longest tests, the longest first: who begins with the last of them would keep all others waiting.
LONG = (
    "test_random.py",
    "test_schemathesis.py",
    "test_redis_answers.py",
    "test_spoiled.py",
    "test_new_setting.py",
    "test_store_retention.py",
    "test_store_model.py",
)


def dealt(items: Sequence[pytest.Item], num: int) -> list[pytest.Item]:
    """Return the tests in the order in which `num` processes get them."""
    waiting = _groups([item for item in items if item.path.parent.name in WAITING])
    rest = sorted((item for item in items if item.path.parent.name not in WAITING), key=_length)
    num_long = sum(item.path.name in LONG for item in rest)
    long, computing = rest[:num_long], iter(rest[num_long:])
    size, num_piles = len(items) // num, (num + 1) // 2
    found: list[pytest.Item] = []
    for n in range(num):
        half = n // 2
        pile = long[half :: max(1, num // 2)] if n % 2 else [i for group in waiting[half::num_piles] for i in group]
        found += [*pile, *islice(computing, max(0, size - len(pile)))]
    return [*found, *computing]


def _groups(items: Sequence[pytest.Item]) -> list[list[pytest.Item]]:
    """Return tests that stay together, the longest first: a shared fixture's, by file where it is a browser; else each
    test by itself."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        shared = [name for name in SHARED if name in getattr(item, "fixturenames", ())]
        name = item.path.name if shared == ["browser"] else (shared or [item.nodeid])[0]
        groups.setdefault(name, []).append(item)
    return sorted(groups.values(), key=lambda group: (_length(group[0]), -len(group)))


def _length(item: pytest.Item) -> int:
    """Return the place of a test's file among the long ones; behind them for any other."""
    return LONG.index(item.path.name) if item.path.name in LONG else len(LONG)
