"""What mkdocs asks while it builds the site: pages made from the code, the developers' pages, the order of all.

`make docs` runs it. Nothing that is made here is kept in the repository, so it cannot be out of date.
"""

from __future__ import annotations

import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.making.contents import DEPLOY_MARK, DEVELOPERS, ROOT, ROOT_PAGES, contents, deploy_list, pictures
from docs.making.links import INSIDE, Links, warn
from docs.making.reference import PAGES

_FOUND: dict[str, Links] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages in order, and name headings as the repository's pages do, so that links hold in both."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    config.nav = contents()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made from the code, the pages that lie elsewhere in the repository, and their pictures."""
    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    for name in (*ROOT_PAGES, *DEVELOPERS, *sorted(set(pictures()))):
        files.append(File.generated(config, INSIDE + name, abs_src_path=str(ROOT / name)))
    _FOUND["links"] = Links(ROOT, {file.src_uri for file in files}, tuple(PAGES))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links between files of the repository lead to pages of the site."""
    return _FOUND["links"].mended(markdown.replace(DEPLOY_MARK, deploy_list()), page.file.src_uri)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Warn of whatever a reader's browser would fetch from elsewhere."""
    for found in re.findall(r'<(?:script|img|iframe|link rel="stylesheet")[^>]+(?:src|href)="(https?:[^"]+)"', output):
        warn(f"{page.file.src_uri} loads {found}: nothing may come from elsewhere")
    return output


def slug(text: str, separator: str) -> str:
    """Return a heading's anchor as repositories make it: `What it can draw` is `what-it-can-draw`."""
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", separator)
