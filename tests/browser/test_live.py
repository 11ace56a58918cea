"""Pages keep up with the farm, also with 10,000 jobs; a hidden tab asks for nothing and catches up when it is shown."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from sigmafarm import Farm
from sigmafarm.http import pagination
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand
from tests.limits import until
from tests.promises import check_promise

#: Makes a tab seem hidden, or shown, to its page: a headless browser shows every tab.
SET_HIDDEN = """isHidden => { Object.defineProperty(document, "hidden", {get: () => isHidden, configurable: true});
document.dispatchEvent(new Event("visibilitychange")); }"""
#: How long a moved row may take to change on the page.
SOON_S = 1.0


#: How long the page waits for an answer that nothing stands behind, in seconds.
ASK = """async () => { const begin = performance.now(); await (await fetch("/healthz")).text();
return (performance.now() - begin) / 1000; }"""


@pytest.mark.slow
def test_a_batch_of_10000_jobs_is_usable_and_rows_change_within_a_second(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit((f"picture {n}" for n in range(10_000)), name="Large")
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page.locator("#j99")).to_be_attached()

    def changed_s() -> float:
        return sorted(_moved_s(page, hand) for _ in range(3))[1]

    check_promise(SOON_S, changed_s, lambda: page.evaluate(ASK), "a moved row on the page")
    last = page.locator("#j9999")
    until(lambda: page.keyboard.press("End") or last.count(), "the last job is on the page")
    expect(last).to_be_in_viewport()
    page.get_by_label("Search in prompts").fill("picture 7777")
    page.keyboard.press("Enter")
    expect(page.locator("#rows li")).to_have_count(1)
    page.locator("#rows a").click()
    expect(page.locator(".prompt")).to_have_text("picture 7777")


def test_counts_chips_and_failures_follow_the_farm(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    batch = farm.submit(["a", "fail b", "c"], name="Small")
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page.get_by_role("link", name="queued 3")).to_be_visible()

    hand.work_all()

    expect(page.get_by_role("link", name=re.compile("^succeeded 2$"))).to_be_visible()
    expect(page.get_by_role("heading", name="Failures by reason")).to_be_visible()
    expect(page.locator("#j0 img")).to_be_visible()
    expect(page.locator("#j1 .is-failed").first).to_be_visible()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")


def test_what_moves_before_a_page_listens_is_not_missed(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit(["a", "b"], name="Quick")

    def draw_first(route: Route) -> None:
        hand.work_all()  # the page is made, and its stream is not open
        route.continue_()

    page.route("**/events*", draw_first, times=1)
    page.goto(f"{server.url}/batches/{batch.id}")

    expect(page.locator("#j0 img")).to_be_visible()
    expect(page.locator("#j1 img")).to_be_visible()


def test_a_list_that_was_asked_for_more_keeps_all_its_rows_and_goes_on_to_be_live(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit([f"picture {n}" for n in range(250)])
    claims = hand.claim()
    page.goto(f"{server.url}/batches/{batch.id}?view=table")
    for num in (200, 250):
        page.get_by_role("button", name="Show more").click()
        expect(page.locator("#rows tr")).to_have_count(num)
    expect(page.get_by_text("That is all.")).to_be_visible()

    for claim in claims:
        hand._finish(claim)  # pyright: ignore[reportPrivateUsage]

    expect(page.locator("#j0")).to_contain_text("succeeded")
    rows = page.evaluate("[...document.querySelectorAll('#rows tr')].map(row => Number(row.dataset.row))")
    assert rows == list(range(250))


def test_a_hidden_tab_asks_for_nothing_and_catches_up(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit(["a", "b"], name="Hidden")
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    asked = _counted(page)
    heads = "() => performance.getEntriesByType('resource').filter(each => each.name.endsWith('/head')).length"
    # Playwright's own wait evaluates text in the page, which our policy forbids.
    until(lambda: page.evaluate(heads), "the page asked for its head")
    page.evaluate(SET_HIDDEN, True)
    _wait_until_quiet(page, asked)
    hand.work_all()
    page.wait_for_timeout(2500)  # a shown tab would have asked more than once in this time

    assert set(asked) <= {f"{server.url}/v1/batches/{batch.id}"}, "how far it is, for the tab's title, and nothing else"
    page.evaluate(SET_HIDDEN, False)
    expect(page.locator("#head .badge").first).to_have_text("done")
    expect(page.locator("#j1 img")).to_be_visible()


def test_a_lost_connection_is_said_and_what_was_shown_stays(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page, complaints: list[str]
) -> None:
    batch = farm.submit(["a", "b"], name="Lost")
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")

    server.stop()

    expect(page.locator("#link")).to_contain_text("connection lost")
    expect(page.get_by_role("heading", name="Lost")).to_be_visible()
    complaints.clear()


@pytest.mark.parametrize("status", [None, 429, 503])
def test_what_was_asked_for_and_not_answered_is_asked_for_again(
    status: int | None, farm: Farm, hand: FarmHand, server: HttpServer, page: Page, complaints: list[str]
) -> None:
    """Single answers that are lost or refused leave no hole on a page, also where nothing happens any more."""
    batch = farm.submit([f"picture {n}" for n in range(250)], name="Holes")
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    refused = _refuse_first(page, status, "chunk", "tiles", "head")
    for claim in hand.claim():
        hand._finish(claim)  # pyright: ignore[reportPrivateUsage]
    page.locator("#chunk-200").scroll_into_view_if_needed()

    expect(page.locator("#j249")).to_be_attached()
    expect(page.locator("#j0:not([data-open])")).to_be_attached()
    expect(page.locator("#head")).to_contain_text("20 succeeded")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    assert len(refused) == 3, refused
    complaints.clear()


@pytest.mark.parametrize("status", [None, 503])
def test_more_of_a_list_that_did_not_come_can_be_asked_for_again(
    status: int | None, farm: Farm, hand: FarmHand, server: HttpServer, page: Page, complaints: list[str]
) -> None:
    batch = farm.submit([f"picture {n}" for n in range(150)])
    page.goto(f"{server.url}/batches/{batch.id}?view=table")
    refused = _refuse_first(page, status, "more")
    for num in (1, 2, 3):
        expect(page.locator("#rows tr")).to_have_count(100)
        page.get_by_role("button", name="Show more").click()
        until(lambda num=num: page.wait_for_timeout(50) or sum(refused.values()) == num, "it was asked for")

    expect(page.locator("#rows tr")).to_have_count(150)
    complaints.clear()


@pytest.mark.parametrize("status", [None, 503])
def test_a_search_that_goes_on_by_itself_goes_on_after_an_answer_that_was_lost(
    status: int | None,
    farm: Farm,
    hand: FarmHand,
    server: HttpServer,
    page: Page,
    complaints: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pagination, "MAX_JOBS", 100)
    batch = farm.submit([f"picture {n}" for n in range(1200)])
    refused = _refuse_first(page, status, "more")

    page.goto(f"{server.url}/batches/{batch.id}?view=table&q=picture+1199")

    expect(page.locator("#rows tr")).to_have_count(1)
    expect(page.get_by_text("That is all.")).to_be_visible()
    assert refused
    complaints.clear()


def _refuse_first(page: Page, status: int | None, *parts: str) -> dict[str, int]:
    """Refuse the first two requests of each part of a page, or cut their line; return how many there were of each."""
    num: dict[str, int] = {}

    def answer(route: Route) -> None:
        kind = urlsplit(route.request.url).path
        num[kind] = num.get(kind, 0) + 1
        if num[kind] > 2:
            route.continue_()
        elif status:
            route.fulfill(status=status, body="not now")
        else:
            route.abort()

    for part in parts:
        page.route(re.compile(f"/{part}(\\?|$)"), answer)
    return num


def _wait_until_quiet(page: Page, asked: list[str]) -> None:
    """Wait until what was under way has ended: nothing was asked for half a second."""

    def is_quiet() -> bool:
        asked.clear()
        page.wait_for_timeout(500)
        return not asked

    until(is_quiet, "the page asks for nothing more")


def _counted(page: Page) -> list[str]:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def _moved_s(page: Page, hand: FarmHand) -> float:
    """Draw one round and return how long the page took to show the last of it, by the page's own clock."""
    claims = hand.claim()
    row = int(claims[-1].job_id.rpartition("-")[2])
    for claim in claims:
        hand._finish(claim)  # pyright: ignore[reportPrivateUsage]
    return page.evaluate(
        """async row => { const begin = performance.now();
        while (!document.querySelector(`#j${row}:not([data-open])`))
            await new Promise(done => setTimeout(done, 10));
        return (performance.now() - begin) / 1000; }""",
        row,
    )
