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
#: The longest of all: it goes first.
LONGEST = "test_random.py"


def dealt(items: Sequence[pytest.Item], num: int) -> list[pytest.Item]:
    """Return the tests in the order in which `num` processes get them."""
    waiting = _groups([item for item in items if item.path.parent.name in WAITING])
    computing = iter([item for item in items if item.path.parent.name not in WAITING])
    size, num_piles = len(items) // num, (num + 1) // 2
    found: list[pytest.Item] = []
    for n in range(num):
        pile = [item for group in waiting[n // 2 :: num_piles] for item in group] if n % 2 == 0 else []
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
    return sorted(groups.values(), key=lambda group: (group[0].path.name != LONGEST, -len(group)))
