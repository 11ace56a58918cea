"""The producer's README: every file, command and input field stands in it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from typer.main import get_command

from sigmafarm.cli.app import make_app
from sigmafarm.inputs import COLUMNS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "producer" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(getattr(get_command(make_app()), "commands")))  # noqa: B009 - any group has them
def test_every_command_is_documented(command: str):
    assert f"`sigmafarm {command}" in TEXT or f"`{command}" in TEXT


@pytest.mark.parametrize("path", sorted((ROOT / "producer" / "sigmafarm").glob("*.py")), ids=lambda path: path.name)
def test_every_file_is_documented(path: Path):
    assert path.name in TEXT


@pytest.mark.parametrize(
    "path", sorted((ROOT / "producer" / "sigmafarm" / "cli").rglob("[!_]*.py")), ids=lambda p: p.name
)
def test_every_group_of_commands_is_documented(path: Path):
    assert f"`{path.name}`" in TEXT


def test_every_input_field_is_documented():
    section = TEXT.split("## Prompt files")[1]

    assert all(column in section for column in COLUMNS)


def test_no_table_tells_of_a_thing_twice():
    first_cells = Counter(re.findall(r"^\| (`[^|]*) \|", TEXT, re.MULTILINE))

    assert [cell for cell, num in first_cells.items() if num > 1] == []
