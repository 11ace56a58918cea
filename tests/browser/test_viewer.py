"""Looking at pictures: the viewer, choosing, stars, comparing, drawing again with changes."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from sigmafarm import Farm, FarmBatch
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand
from tests.limits import until


def drawn(farm: Farm, hand: FarmHand, num: int = 4) -> FarmBatch:
    batch = farm.submit([{"prompt": f"picture {n}", "seed": n} for n in range(num)], name="Four")
    hand.work_all()
    return batch


def test_a_click_opens_the_viewer_and_escape_leads_back_to_the_same_place(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = drawn(farm, hand)
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    viewer, image = page.get_by_role("dialog"), page.locator("#viewer-image")

    page.locator("#j1 a").click()
    expect(viewer).to_be_visible()
    expect(image).to_have_attribute("src", re.compile(f"{batch.id}-000001/image"))
    expect(image).to_have_js_property("naturalWidth", 64)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(image).to_have_attribute("src", re.compile(f"{batch.id}-000003/image"))
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-place")).to_contain_text("that was the last")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("i")
    expect(page.locator("#viewer-facts")).to_contain_text("picture 2")
    page.keyboard.press("z")
    expect(page.locator("#viewer-stage")).to_have_class(re.compile("is-actual"))
    page.keyboard.press("Escape")

    expect(viewer).to_be_hidden()
    expect(page.locator("#j2 a")).to_be_focused()
    expect(page).to_have_url(f"{server.url}/batches/{batch.id}")
    page.locator("#j0 a").click()
    page.go_back()
    expect(viewer).to_be_hidden()
    expect(page.locator("#j0 a")).to_be_focused()


def test_the_picture_stands_in_the_middle_of_the_viewer_at_every_width(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = drawn(farm, hand)
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    page.locator("#j1 a").click()
    expect(page.locator("#viewer-image")).to_have_js_property("naturalWidth", 64)

    for width in (360, 775, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        for each in ("fitted", "one to one"):
            stage, image = page.locator("#viewer-stage").bounding_box(), page.locator("#viewer-image").bounding_box()
            frame = page.locator(".viewer-frame").bounding_box()
            assert stage is not None
            assert image is not None
            assert frame is not None
            assert stage == frame, (width, each)
            assert abs(image["x"] + image["width"] / 2 - width / 2) < 1, (width, each)
            assert abs(image["y"] + image["height"] / 2 - frame["y"] - frame["height"] / 2) < 1, (width, each)
            page.keyboard.press("z")


def test_the_viewer_tells_a_rating_and_the_sheet_of_keys_opens_over_it(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = drawn(farm, hand)
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    page.locator("#j1 a").click()

    page.keyboard.press("3")
    expect(page.locator("#viewer-place")).to_have_text("row 1, rated 3 of 5")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")

    expect(page.locator("#keys")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_visible()


def test_the_viewer_goes_on_into_what_the_page_has_not_filled_yet(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit([f"picture {n}" for n in range(203)])
    hand.work_all()
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    page.locator("#j99 a").scroll_into_view_if_needed()
    page.locator("#j99 a").click()

    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-image")).to_have_attribute("src", re.compile(f"{batch.id}-000100/image"))
    page.keyboard.press("Escape")
    # A step back under way would break off the next page.
    until(lambda: page.evaluate("() => !history.state?.viewer"), "the viewer's step of the history is undone")
    page.goto(f"{server.url}/batches/{batch.id}?view=&q=picture")
    page.locator("#j99 a").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-image")).to_have_attribute("src", re.compile(f"{batch.id}-000100/image"))


def test_a_star_is_kept_shown_and_in_the_manifest(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    batch = drawn(farm, hand)
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    page.locator("#j1 a").click()

    page.keyboard.press("s")
    expect(page.get_by_role("button", name="Star")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("3")
    expect(page.locator("#j2 a")).to_have_attribute("data-rating", "3")
    page.keyboard.press("Escape")

    expect(page.locator("#j1 .star")).to_be_visible()
    assert [job.rating for job in batch.jobs()] == [0, 5, 3, 0]
    manifest = page.request.get(f"{server.url}/v1/batches/{batch.id}/manifest").text()
    assert re.findall(r'"rating": (\d)', manifest) == ["5", "3"]


def test_pictures_are_chosen_with_clicks_shift_and_keys_and_drawn_again_with_changes(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page, complaints: list[str]
) -> None:
    batch = drawn(farm, hand, 6)
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    bar = page.locator("#choice")
    expect(bar).to_be_hidden()

    page.locator("#j0 .choose").click()
    page.locator("#j2 a").click(modifiers=["Shift"])
    page.locator("#j4 a").focus()
    page.keyboard.press("x")
    expect(page.locator("#choice-num")).to_have_text("4")
    page.locator("#j1 a").click()  # while something is chosen, a click chooses, or not
    expect(page.locator("#choice-num")).to_have_text("3")
    expect(page.get_by_role("button", name="Compare")).to_be_disabled()
    bar.get_by_role("button", name="Again with changes").click()
    expect(page.get_by_role("heading", name="3 jobs again with changes")).to_be_visible()
    page.get_by_label("Steps").fill("nine")
    page.get_by_role("button", name="Draw 3 jobs again").click()
    expect(page.locator("#num_inference_steps-problem")).to_contain_text("Steps is 'nine'")
    complaints.clear()  # the browser tells of the 422
    page.get_by_label("Steps").fill("9")
    page.get_by_label("Larger").select_option("2")
    page.get_by_label("Pictures of each").fill("2")
    page.get_by_role("button", name="Draw 3 jobs again").click()

    expect(page.get_by_text("Submitted: 6 jobs.")).to_be_visible()
    expect(page.get_by_role("link", name=batch.id)).to_be_visible()
    again = farm.batches()[0]
    jobs = farm.store.jobs(again.id)
    assert (again.parent, again.name) == (batch.id, "again: Four")
    assert [job.request.prompt for job in jobs] == [f"picture {n}" for n in (0, 0, 2, 2, 4, 4)]
    assert {(job.num_steps, job.request.width, job.request.height) for job in jobs} == {(9, 128, 128)}
    assert len({job.request.seed for job in jobs}) == 6


def test_two_are_compared_and_chosen_ones_downloaded(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = drawn(farm, hand)
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    page.locator("#j1 .choose").click()
    page.locator("#j3 .choose").click()

    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"{batch.id}-chosen.zip"
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("row", name="Prompt picture 1 picture 3")).to_be_visible()
    expect(page.get_by_role("row", name="Seed 1 3")).to_be_visible()
    page.get_by_role("link", name="Slider").click()
    page.get_by_role("slider").fill("25")
    assert page.locator("#compare-over").evaluate("each => each.style.getPropertyValue('--at')") == "25%"
    page.get_by_role("link", name="Difference").click()
    blend = page.locator(".compare-over img").nth(1).evaluate("each => getComputedStyle(each).mixBlendMode")
    assert blend == "difference"
