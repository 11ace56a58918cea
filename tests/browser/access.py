"""What axe-core finds wrong with a page for people who do not see, hear or move as others do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

#: WCAG 2.2, levels A and AA.
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
#: What else is asked for: rules that axe leaves out unless they are named.
RULES = ("landmark-one-main", "landmark-unique", "region", "target-size")
Scheme = Literal["light", "dark"]
#: A desk's window and a phone's, in CSS pixels.
DESK, PHONE = (1440, 900), (375, 812)
#: Other widths at which nothing may reach beyond the window: 700 is about a desk's at 200 %.
WIDTHS = (320, 640, 700, 775, 900)
#: Every second page is looked at light on a desk and dark on a phone, the others the other way round: a rule's answer
#: depends on the theme or on the size, and what all pages have is seen in all four. All four of every page, by hand:
#: EVERY_LOOK=1 .venv/bin/python -m pytest tests/browser/test_access.py
LOOKS: Sequence[tuple[Scheme, Scheme]] = (("light", "dark"), ("dark", "light"))

#: What axe is asked.
OPTIONS = {
    "resultTypes": ["violations"],
    "preload": False,
    "runOnly": {"type": "tag", "values": list(TAGS)},
    "rules": {name: {"enabled": True} for name in RULES},
}
#: Runs axe on a place with options, and returns what is wrong: the rule, the place, and what it says of it.
RUN = """async asked => (await axe.run(...asked)).violations.flatMap(found => found.nodes.map(node => {
const said = [...node.any, ...node.all, ...node.none].map(each => each.message).join("; ");
return `${found.id}: ${node.target.join(" ")}: ${said}`; }))"""
#: Which of the widest elements reach beyond the window, if the page does.
TOO_WIDE = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => `wider than ${innerWidth} px: ${e.outerHTML.slice(0, 120)}`)"""


def look_over(page: Page, looks: tuple[Scheme, Scheme], *, within: str = "html", but: str = "") -> Iterator[str]:
    """Yield what is wrong with the page as it stands, on a desk and on a phone, each in its theme.

    `within` and `but` are selectors: what axe looks at, and what it leaves out of that."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        yield from page.evaluate(TOO_WIDE)
    page.evaluate(AXE_SCRIPT)
    where = {"include": [within], **({"exclude": [but]} if but else {})}
    for scheme, (width, height) in zip(looks, (DESK, PHONE), strict=True):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        yield from page.evaluate(TOO_WIDE)
        yield from (f"{width} px, {scheme}: {said}" for said in page.evaluate(RUN, [where, OPTIONS]))
