"""Figures on pages: the chart with its legend and its table, a search that says how many, a table that sorts; titles
and first pictures in lists."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand


def test_the_chart_is_drawn_explained_and_stays_open_as_a_table(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    farm.submit(["a", "b", "fail c"])
    hand.work_all()
    page.goto(server.url)
    expect(page.locator("#chart canvas")).to_be_visible()
    expect(page.locator(".legend li")).to_have_count(3)
    page.locator("#chart-table summary").click()
    expect(page.locator("#chart-table tbody tr")).to_have_count(6)

    farm.submit(["d"], name="Newest")

    expect(page.locator(".line-head", has_text="Newest")).to_be_visible()
    expect(page.locator("#chart-table tbody")).to_be_visible()


def test_a_search_says_how_many_and_a_table_sorts(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    batch = farm.submit(
        [{"prompt": "a zebra", "seed": 5}, {"prompt": "an owl", "seed": 9}, {"prompt": "zebra", "seed": 1}]
    )
    hand.work_all()
    page.goto(f"{server.url}/batches/{batch.id}?view=table")
    page.get_by_role("searchbox").fill("zebra seed:1..5")
    page.get_by_role("searchbox").press("Enter")

    expect(page.locator("#found")).to_have_text("2 pictures with seed 1 to 5 whose prompt holds 'zebra'")
    page.get_by_role("link", name="Seed").click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Seed ↑")
    expect(page.locator("#rows tr").first).to_have_id("j2")
    expect(page.get_by_role("searchbox")).to_have_value("zebra seed:1..5")
    page.get_by_role("searchbox").fill("sede:5")
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator("#found")).to_contain_text("nothing is called 'sede': there are state:, worker:")


def test_lists_show_titles_and_first_pictures_and_a_search_goes_over_all_batches(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit(["an owl at night", "a zebra", "fail c", "d", "e"])
    farm.submit(["a zebra in the snow"])
    hand.work_all()
    page.goto(f"{server.url}/batches")

    row = page.locator(f"#row-{batch.id}")
    expect(row.get_by_role("link", name="an owl at night")).to_be_visible()
    thumbs = row.locator(".thumbs img")
    expect(thumbs).to_have_count(3)
    for place in range(3):
        expect(thumbs.nth(place)).not_to_have_js_property("naturalWidth", 0)
    page.get_by_role("link", name="Search the prompts of all batches").click()
    page.get_by_role("searchbox").fill("zebra")
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator("#found")).to_have_text("2 pictures whose prompt holds 'zebra'")
    expect(page.locator("#rows li")).to_have_count(2)
    page.get_by_role("searchbox").fill("unicorn")
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator("#found")).to_have_text("no prompt holds 'unicorn'")
