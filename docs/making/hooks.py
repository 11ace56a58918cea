"""What mkdocs asks while it builds the site: pages made from the code, the developers' pages, the order of all.

`make docs` runs it. Nothing that is made here is kept in the repository, so it cannot be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.making.links import INSIDE, Links, warn
from docs.making.reference import PAGES

ROOT = Path(__file__).parents[2]
#: The pages for everybody, in the order in which they are needed.
TASKS = ("start", "submit", "results", "watch", "tune", "mend")
CLIENTS = ("python", "http", "clients")
#: Pages of docs/deploy, in their order; whatever else lies there comes behind them.
DEPLOY = ("index", "gpu-boxes", "kubernetes", "proxy", "backup", "upgrade", "spot", "monitoring")
ABOUT = ("about/comparison.md", "about/weights.md")
#: Pages that others read first in the repository, and those of developers.
ROOT_PAGES = ("SECURITY.md", "CHANGELOG.md")
DEVELOPERS = (
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
)
_FOUND: dict[str, Links] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages in order, and name headings as the repository's pages do, so that links hold in both."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    config.nav = [
        {"Home": "index.md"},
        {"Tasks": [f"{name}.md" for name in (*TASKS, *CLIENTS)]},
        {"Deploy": list(_deploy_pages())},
        {"Reference": ["reference/index.md", *(f"reference/{name}.md" for name in PAGES)]},
        {"About": [*ABOUT, *(INSIDE + name for name in ROOT_PAGES)]},
        {"Inside": [INSIDE + name for name in DEVELOPERS]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made from the code, the pages that lie elsewhere in the repository, and their pictures."""
    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    pages = (*ROOT_PAGES, *DEVELOPERS)
    for name in (*pages, *sorted(set(_pictures_of(pages)))):
        files.append(File.generated(config, INSIDE + name, abs_src_path=str(ROOT / name)))
    _FOUND["links"] = Links(ROOT, {file.src_uri for file in files}, tuple(PAGES))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links between files of the repository lead to pages of the site."""
    return _FOUND["links"].mended(markdown, page.file.src_uri)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Warn of whatever a reader's browser would fetch from elsewhere."""
    for found in re.findall(r'<(?:script|img|iframe|link rel="stylesheet")[^>]+(?:src|href)="(https?:[^"]+)"', output):
        warn(f"{page.file.src_uri} loads {found}: nothing may come from elsewhere")
    return output


def slug(text: str, separator: str) -> str:
    """Return a heading's anchor as repositories make it: `What it can draw` is `what-it-can-draw`."""
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", separator)


def _deploy_pages() -> Iterator[str]:
    there = {path.stem: f"deploy/{path.name}" for path in sorted((ROOT / "docs" / "deploy").glob("*.md"))}
    for name in DEPLOY:
        if name in there:
            yield there.pop(name)
    yield from there.values()


def _pictures_of(pages: tuple[str, ...]) -> Iterator[str]:
    """Yield the pictures that pages outside of docs/ show, by their paths in the repository."""
    for name in pages:
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            path = (ROOT / name).parent.joinpath(target).resolve()
            if path.is_file() and not path.is_relative_to(ROOT / "docs"):
                yield path.relative_to(ROOT).as_posix()
