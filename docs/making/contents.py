"""Which pages the site has, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.making.links import INSIDE
from docs.making.reference import PAGES

ROOT = Path(__file__).parents[2]
#: The pages for everybody, in the order in which they are needed.
TASKS = ("start", "submit", "results", "watch", "tune", "mend", "python", "http", "clients")
#: Pages of docs/deploy, in their order; whatever else lies there comes behind them.
DEPLOY = ("index", "gpu-boxes", "kubernetes", "proxy", "backup", "upgrade", "spot", "monitoring")
ABOUT = ("about/comparison.md", "about/promises.md", "about/weights.md")
#: Pages that others read first in the repository, and those of developers.
ROOT_PAGES = ("SECURITY.md", "CHANGELOG.md")
DEVELOPERS = (
    "README.md",
    "CONTRIBUTING.md",
    "common/README.md",
    "producer/README.md",
    "producer/sigmafarm/http/README.md",
    "producer/sigmafarm/http/dashboard/README.md",
    "producer/sigmafarm/http/fronts/README.md",
    "worker/README.md",
    "worker/demo_model/README.md",
    "examples/README.md",
    "models/README.md",
    "tests/chaos/README.md",
    "tests/small_model/README.md",
)
#: What stands where docs/deploy/index.md lists the pages beside it.
DEPLOY_MARK = "<!-- pages -->"


def contents() -> list[dict[str, Any]]:
    """Return the pages in order, as mkdocs takes them."""
    return [
        {"Home": "index.md"},
        {"Tasks": [f"{name}.md" for name in TASKS]},
        {"Deploy": [f"deploy/{name}.md" for name in deploy_pages()]},
        {"Reference": ["reference/index.md", *(f"reference/{name}.md" for name in PAGES)]},
        {"About": [*ABOUT, *(INSIDE + name for name in ROOT_PAGES)]},
        {"Inside": [INSIDE + name for name in DEVELOPERS]},
    ]


def pages() -> list[str]:
    """Return all of them."""
    return [
        page
        for section in contents()
        for found in section.values()
        for page in ([found] if found == "index.md" else found)
    ]


def text_of(page: str) -> str:
    """Return a page as it is written or made, its list of neighbours put in."""
    name = page.removeprefix("reference/").removesuffix(".md")
    if page.startswith("reference/") and name in PAGES:
        return PAGES[name]()
    path = ROOT / page.removeprefix(INSIDE) if page.startswith(INSIDE) else ROOT / "docs" / page
    return path.read_text(encoding="utf-8").replace(DEPLOY_MARK, deploy_list())


def deploy_pages() -> list[str]:
    """Return the pages of docs/deploy in their order."""
    there = sorted(path.stem for path in (ROOT / "docs" / "deploy").glob("*.md"))
    return sorted(there, key=lambda name: DEPLOY.index(name) if name in DEPLOY else len(DEPLOY))


def deploy_list() -> str:
    """Return a list of the pages beside docs/deploy/index.md, by their headings."""
    folder = ROOT / "docs" / "deploy"
    names = [name for name in deploy_pages() if name != "index"]
    heads = [(folder / f"{name}.md").read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for name in names]
    return "\n".join(f"- [{head}]({name}.md)" for name, head in zip(names, heads, strict=True))


def pictures() -> Iterator[str]:
    """Yield the pictures that pages outside of docs/ show, by their paths in the repository."""
    for name in (*ROOT_PAGES, *DEVELOPERS):
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            path = (ROOT / name).parent.joinpath(target).resolve()
            if path.is_file() and not path.is_relative_to(ROOT / "docs"):
                yield path.relative_to(ROOT).as_posix()
