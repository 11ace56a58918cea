"""AUTOMATIC1111's syntax of prompts, read by its rules."""

from __future__ import annotations

import pytest

from sigmafarm_worker.models.weighted_text import read_weights


@pytest.mark.parametrize(
    ("prompt", "passages"),
    [
        ("", [("", 1)]),
        ("a red cat", [("a red cat", 1)]),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("a ((red)) cat", [("a ", 1), ("red", 1.21), (" cat", 1)]),
        ("a [red] cat", [("a ", 1), ("red", 1 / 1.1), (" cat", 1)]),
        ("a (red:1.3) cat", [("a ", 1), ("red", 1.3), (" cat", 1)]),
        ("(red:.5)(blue: 0.5 )", [("redblue", 0.5)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
        ("([a])", [("a", 1)]),
        (r"a \(red\) \[cat\] \\", [("a (red) [cat] \\", 1)]),
        (r"a\b", [("ab", 1)]),
        ("(a b", [("a b", 1.1)]),
        ("[a (b", [("a ", 1 / 1.1), ("b", 1)]),
        ("a) b]", [("a) b]", 1)]),
        ("a:1.2) b: c", [("a:1.2) b: c", 1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("a BREAK b", [("a", 1), (None, 1), ("b", 1)]),
        ("(a BREAK b:2)", [("a", 2), (None, 2), ("b", 2)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
    ],
)
def test_brackets_weights_escapes_and_breaks(prompt, passages):
    found = read_weights(prompt)

    assert [each.text for each in found] == [text for text, _ in passages]
    assert [each.weight for each in found] == pytest.approx([weight for _, weight in passages])


@pytest.mark.parametrize(
    "prompt", ["(" * 5000, ")" * 5000, "(:" * 3000, "[(" * 3000 + ")]" * 3000, "\\" * 9000, "\x00"]
)
def test_whatever_is_written_is_read(prompt):
    assert read_weights(prompt)
