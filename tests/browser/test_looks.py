"""Every page on a phone and for readers of other kinds: nothing wider than the window, everything named."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand

#: What reaches beyond the window, unless it is scrolled by itself.
TOO_WIDE = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 120))"""
#: What has no name for somebody who does not see it: pictures, buttons, links, fields.
UNNAMED = """() => {
const inside = e => [...e.querySelectorAll("img, [aria-label]")].map(c => c.alt ?? c.ariaLabel).join("");
const name = e => [e.ariaLabel, e.labels?.[0]?.textContent, e.title, inside(e), e.textContent].join("");
const bad = [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary")]
    .filter(e => !name(e).trim());
bad.push(...[...document.querySelectorAll("img")].filter(e => !e.alt));
bad.push(...[...document.querySelectorAll("main svg")].filter(e => !e.closest("[aria-hidden], [aria-label]")));
if (document.querySelectorAll("main h1").length !== 1) bad.push(document.querySelector("main"));
const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
return [...bad.map(e => e.outerHTML.slice(0, 120)), ...ids.filter((id, n) => ids.indexOf(id) !== n)]; }"""


def test_pages_fit_a_phone_and_name_their_parts(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page, complaints: list[str]
) -> None:
    batch = farm.submit(["a boat", "fail b", "c" * 300], name="A rather long name for a batch on such a small screen")
    hand.work_all()
    running = farm.submit([f"picture {n}" for n in range(30)], name="x" * 120)
    claims = hand.claim()
    page.set_viewport_size({"width": 360, "height": 740})
    paths = ["/", "/batches", "/workers", "/submit", "/docs", "/nothing"]
    paths += [f"/batches/{batch.id}", f"/batches/{running.id}"]
    paths += [f"/batches/{batch.id}?view=table", f"/batches/{batch.id}/confirm?act=retry", f"/jobs/{claims[0].job_id}"]
    paths += [f"/jobs/{batch.id}-{row:06d}" for row in range(3)]

    for path in paths:
        page.goto(server.url + path)
        assert page.evaluate(TOO_WIDE) == [], path
        assert page.evaluate(UNNAMED) == [], path
        if path == "/nothing":
            complaints.clear()  # the browser tells of the 404


def test_the_theme_is_switched_and_stays(server: HttpServer, page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(server.url)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()

    assert light != dark
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_a_search_of_batches_is_kept_in_the_address(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    for name in ("Lighthouses", "Barns"):
        farm.submit(["a"], name=name)
    page.goto(f"{server.url}/batches")
    page.get_by_role("searchbox").type("barn")

    expect(page.locator("#batches tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/batches\?q=barn$"))
    farm.submit(["b"], name="Barn doors")
    expect(page.locator("#batches tbody tr")).to_have_count(2)  # it goes on to be live, with the search
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("barn")
    page.get_by_role("link", name="done", exact=True).click()
    expect(page.get_by_role("heading", name="No batch matches")).to_be_visible()


def test_a_question_is_asked_though_it_was_wanted_before_the_scripts_came(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit(["fail a"])
    hand.work_all()
    held: list[Route] = []
    page.route("**/js/main.js", lambda route: held.append(route) if not held else route.continue_())
    page.goto(f"{server.url}/batches/{batch.id}", wait_until="commit")
    page.get_by_role("link", name="Retry failed").click()
    held[0].continue_()

    expect(page.get_by_text("Retry 1 job?")).to_be_visible()


@pytest.mark.parametrize("way", ["Escape", "Keep as it is"])
def test_a_question_can_be_left(farm: Farm, hand: FarmHand, server: HttpServer, page: Page, way: str) -> None:
    batch = farm.submit(["fail a"])
    hand.work_all()
    page.goto(f"{server.url}/batches/{batch.id}")
    page.get_by_role("link", name="Retry failed").click()
    expect(page.get_by_role("dialog")).to_be_visible()

    page.keyboard.press("Escape") if way == "Escape" else page.get_by_role("link", name=way).click()

    expect(page.get_by_role("dialog")).to_be_hidden()
    assert batch.counts.failed == 1
