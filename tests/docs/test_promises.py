"""The page of promises: each names tests, and each of them is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "about" / "promises.md"
#: A test as the page names it.
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
REST = "## What is not promised"


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests of a file, those of classes too."""
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def promises() -> list[str]:
    """Return the promises, each with the tests that hold it."""
    promised = PAGE.read_text().partition(REST)[0]
    return re.split(r"^- ", promised, flags=re.MULTILINE)[1:]


def test_every_promise_names_a_test():
    assert len(promises()) > 20
    assert [said for said in promises() if not NAMED.search(said)] == []


def test_every_test_that_is_named_is_there():
    named = {match.groups() for said in promises() for match in NAMED.finditer(said)}

    assert [f"{path}::{name}" for path, name in sorted(named) if name not in names_in(path)] == []


def test_what_is_not_promised_is_said():
    assert REST in PAGE.read_text()
