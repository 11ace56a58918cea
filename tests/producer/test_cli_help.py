"""The pages of --help: panels, an example each, every flag whole on a narrow terminal."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from sigmafarm.cli.app import make_app
from sigmafarm.cli.commands import PANELS

COMMANDS = [name for entries in PANELS.values() for name in entries]


@pytest.fixture(scope="module")
def program() -> Any:
    return typer.main.get_command(make_app())


@pytest.fixture
def context(program: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "80")
    return typer.Context(program, info_name="sigmafarm")


def page_of(command: Any, context: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the help of a command as it is printed."""
    own = typer.Context(command, info_name=command.name, parent=context)
    assert command.get_help(own) == ""
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_is_whole_at_80_columns_beside_an_example(
    program: Any, context: Any, name: str, capsys: pytest.CaptureFixture[str]
):
    command = program.get_command(context, name)

    page = page_of(command, context, capsys)

    assert all(len(line) <= 80 for line in page.splitlines())
    assert "…" not in page
    flags = [flag for each in command.params for flag in (*each.opts, *each.secondary_opts) if flag.startswith("--")]
    assert all(flag in page.split() or f"{flag}," in page.split() for flag in flags), flags


@pytest.mark.parametrize(
    ("name", "example"), [(name, entry.example) for entries in PANELS.values() for name, entry in entries.items()]
)
def test_every_example_is_one_that_the_program_takes(program: Any, context: Any, name: str, example: str):
    said, *arguments = shlex.split(example)

    with program.make_context(said, list(arguments)) as own:
        found, command, rest = program.resolve_command(own, [*own._protected_args, *own.args])
        if command.name != "keys":
            command.make_context(found, list(rest), parent=own)

    assert (said, found) == ("sigmafarm", name)


def test_the_first_page_has_the_commands_in_panels(program: Any, context: Any, capsys: pytest.CaptureFixture[str]):
    page = page_of(program, context, capsys)

    titles = [line.split()[1] for line in page.splitlines() if line.startswith("╭─")]
    assert titles == ["Start", "Submit", "Look", "Steer", "Care", "Options"]
    assert all(f"│ {name} " in page for name in COMMANDS)
    assert "130 Ctrl-C" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_page_shows_its_example(program: Any, context: Any, name: str, capsys: pytest.CaptureFixture[str]):
    page = page_of(program.get_command(context, name), context, capsys)

    assert f"$ sigmafarm {name} " in page or f"$ sigmafarm {name}\n" in page or name == "worker"


def test_commands_of_a_group_have_the_same_pages(program: Any, context: Any, capsys: pytest.CaptureFixture[str]):
    keys = program.get_command(context, "keys")

    pages = {name: page_of(keys.get_command(context, name), context, capsys) for name in keys.list_commands(context)}

    assert all(f"$ sigmafarm keys {name}" in page for name, page in pages.items())
    assert all(len(line) <= 80 and "…" not in line for page in pages.values() for line in page.splitlines())
    assert "--scope <submit|read|admin>" in pages["add"]
