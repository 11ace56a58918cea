"""The pages of docs/: none is forgotten, no link leads nowhere, and what they tell of codes is all that the code knows.

The site itself is built by `make docs`; here its text is looked at, which needs none of its packages.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from docs.making import links
from docs.making.command_pages import commands_of
from docs.making.contents import pages, pictures, text_of
from docs.making.links import Links, told_apart
from docs.making.reference import PAGES, error_classes
from docs.making.tables import table
from sigmafarm import __all__ as public_names
from sigmafarm.cli.app import make_app
from sigmafarm_common.config import Config, variable
from sigmafarm_common.job_warnings import WarningCode
from sigmafarm_common.samplers import SAMPLERS
from sigmafarm_common.settings import REQUEST_FIELDS

ROOT = Path(__file__).parents[2]
#: What a job or a request may be told that no class of an error stands for.
OTHER_CODES = ("lost", "record_lost", "picture_lost", "failed_before", "internal", "not_ready", "too_many_connections")
#: Exit codes of commands and of worker processes.
EXIT_CODES = (0, 1, 2, 3, 4, 5, 130)


@cache
def text(page: str) -> str:
    """Return a page's text; those that are made of the running code take a moment."""
    return text_of(page)


def test_every_page_of_the_folder_is_in_the_contents():
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}

    assert written <= set(pages())
    assert len(set(pages())) == len(pages())


def test_no_link_of_a_page_leads_nowhere(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(links, "warn", said.append)
    there = {*pages(), *(links.INSIDE + name for name in pictures()), *_pictures_of_docs()}

    for page in pages():
        Links(ROOT, there, tuple(PAGES)).mended(text(page), page)

    assert said == []


@pytest.mark.parametrize(
    ("written", "page", "told"),
    [
        ("[a](../producer/README.md#python)", "submit.md", "[a](inside/producer/README.md#python)"),
        ("[a](submit.md)", "deploy/spot.md", "a"),
        ("[a](../submit.md#x)", "deploy/index.md", "[a](../submit.md#x)"),
        ("[a](reference/index.md#errors)", "mend.md", "[a](reference/errors.md)"),
        ("![a](../docs/demo.png)", "inside/common/README.md", "![a](../../demo.png)"),
        ("[`a`](../Makefile)", "start.md", "`a`"),
        ("[a](https://example.org/x) [b](#c)", "start.md", "[a](https://example.org/x) [b](#c)"),
        ("[![a](demo.png)](submit.md)", "index.md", "[![a](demo.png)](submit.md)"),
    ],
)
def test_links_lead_from_page_to_page(written: str, page: str, told: str, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(links, "warn", said.append)
    there = {"submit.md", "demo.png", "reference/errors.md", "inside/producer/README.md"}

    assert Links(ROOT, there, ("errors",)).mended(written, page) == told
    assert bool(said) is (told == "a")


def test_a_link_in_code_is_left_alone():
    written = "```\n[a](b)\n```\n~~~\n```\n~~~\n[a](b)"

    assert [line for line, is_text in told_apart(written) if is_text] == ["[a](b)"]


def test_every_code_of_an_error_and_of_a_warning_has_its_cure():
    codes = {each.code for each in error_classes()} | {each.value for each in WarningCode} | set(OTHER_CODES)

    assert [code for code in sorted(codes) if f"`{code}`" not in text("mend.md")] == []


def test_no_code_is_explained_that_nothing_says():
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", text("mend.md"), re.M)
    known = {each.code for each in error_classes()} | set(OTHER_CODES) | {"method_not_allowed"}

    assert {code for row in rows for code in re.findall(r"`([a-z_]+)`", row)} <= known


def test_every_exit_code_is_explained():
    section = text("mend.md").split("## Exit codes")[1]
    codes = {each.exit_code for each in error_classes()} | set(EXIT_CODES)

    assert all(f"\n| {code} | " in section for code in codes)


def test_the_reference_has_everything():
    commands = [name for name, _ in commands_of(get_command(make_app()))]

    assert all(f"## {name}\n" in text("reference/commands.md") for name in commands)
    assert all(f"| `{name}`" in text("reference/job-settings.md") for name in REQUEST_FIELDS if name != "prompt")
    assert all(f"`{variable(name)}`" in text("reference/farm-settings.md") for name in Config.model_fields)
    assert all(f"| `{each.name}` |" in text("reference/samplers.md") for each in SAMPLERS)
    assert all(f"### {name}\n" in text("reference/python.md") for name in public_names)
    assert all(f"| `{each.code}` | `{each.__name__}` |" in text("reference/errors.md") for each in error_classes())
    assert "### POST /v1/batches\n" in text("reference/api.md")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_made_has_its_words_in_the_repository(name: str):
    heads = {
        line[3:].lower().replace(" ", "-") for line in text("reference/index.md").splitlines() if line[:3] == "## "
    }

    assert name in heads


def test_a_table_leaves_empty_columns_out():
    assert (
        table(("a", "b", "c"), [("1", "", "x|y"), ("2", "", "z")])
        == "| a | c |\n| --- | --- |\n| 1 | x\\|y |\n| 2 | z |"
    )


def _pictures_of_docs() -> set[str]:
    return {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.png")}
