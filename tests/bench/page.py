"""Puts a table between two marks of a page for people, in place of the older one."""

from __future__ import annotations

from pathlib import Path


def put_into(page: Path, begin: str, end: str, table: str) -> None:
    """Write a table between the lines `begin` and `end` of a page. Raises ValueError if it lacks them."""
    before, mark, rest = page.read_text().partition(f"{begin}\n")
    _, last, after = rest.partition(end)
    if not mark or not last:
        raise ValueError(f"{page} has no place for the table: it must have the lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}")
