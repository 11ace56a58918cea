"""The submit form says what will happen, and loses nothing."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand, a_pace

#: Drops a file of the server on the page, as a hand does that drags it.
DROP = """async ([address, name]) => { const data = await (await fetch(address)).blob();
const file = new File([data], name, {type: "image/png"});
const carried = new DataTransfer(); carried.items.add(file);
dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true})); }"""


def test_a_draft_survives_a_visit_elsewhere_and_is_dropped_when_it_was_sent(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    page.goto(f"{server.url}/submit")
    expect(page.locator("#draft")).to_be_hidden()
    page.get_by_label("Prompts").fill("a boat\na barn")
    page.get_by_label("Steps").fill("12")
    page.get_by_role("link", name="Workers").first.click()
    expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    page.get_by_role("link", name="Submit", exact=True).click()

    expect(page.get_by_text("Your draft is back.")).to_be_visible()
    expect(page.get_by_label("Prompts")).to_have_value("a boat\na barn")
    expect(page.get_by_label("Steps")).to_have_value("12")
    expect(page.locator("#count-num")).to_have_text("2")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("Submitted: 2 jobs.")).to_be_visible()
    page.goto(f"{server.url}/submit")
    expect(page.get_by_label("Prompts")).to_have_value("")
    page.get_by_label("Prompts").fill("a mill")
    page.reload()
    page.get_by_role("button", name="Begin anew").click()
    expect(page.get_by_label("Prompts")).to_have_value("")
    expect(page.locator("#draft")).to_be_hidden()


def test_the_seed_is_rolled_locked_and_open_again(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    page.goto(f"{server.url}/submit")
    seed, lock = page.get_by_label("Seed"), page.locator("[data-seed=lock]")
    expect(lock).to_have_attribute("aria-pressed", "false")

    page.get_by_role("button", name="Roll").click()
    expect(seed).to_have_value(re.compile(r"^\d+$"))
    rolled = seed.input_value()
    expect(lock).to_have_text("Locked")
    lock.click()
    expect(seed).to_have_value("")
    lock.click()
    expect(seed).to_have_value(rolled)
    page.get_by_role("button", name="Roll").click()

    expect(seed).not_to_have_value(rolled)
    expect(lock).to_have_attribute("aria-pressed", "true")


def test_empty_fields_show_what_is_used_and_wrong_values_are_told_while_they_are_written(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    page.goto(f"{server.url}/submit")
    expect(page.get_by_label("Width")).to_have_attribute("placeholder", re.compile("64"))
    page.get_by_label("Prompts").fill("a boat")
    expect(page.locator("#count-num")).to_have_text("1")

    page.get_by_label("Width").fill("515")
    expect(page.locator("#width-problem")).to_contain_text("nearest 512 or 520")
    expect(page.get_by_label("Width")).to_have_attribute("aria-describedby", "width-problem")
    expect(page.locator("#count")).to_contain_text("1 job; Width is '515'")
    page.get_by_label("Width").fill("512")

    expect(page.locator("#width-problem")).to_have_text("")
    expect(page.get_by_label("Width")).not_to_have_attribute("aria-invalid", "true")
    assert farm.batches() == []


def test_the_count_tells_the_time_at_the_farms_pace(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    a_pace(farm)
    page.goto(f"{server.url}/submit")

    page.get_by_label("Prompts").fill("a boat")
    page.get_by_label("Repeat").fill("5000")

    expect(page.locator("#count-num")).to_have_text(re.compile(r"^5\s000$"))
    expect(page.locator("#count-time")).to_have_text(re.compile(r"about .+ at the farm’s pace"))


def test_a_dropped_picture_fills_the_form(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page, tmp_path: Path
) -> None:
    batch = farm.submit([{"prompt": "a boat on the sea", "seed": 7, "num_inference_steps": 31}])
    hand.work_all()
    page.goto(f"{server.url}/submit")
    page.wait_for_load_state()

    page.evaluate(DROP, [f"/v1/jobs/{batch.id}-000000/image?redirect=false", "boat.png"])

    expect(page.get_by_text("Filled from the picture.")).to_be_visible()
    expect(page.get_by_label("Prompts")).to_have_value("a boat on the sea")
    expect(page.get_by_label("Steps")).to_have_value("31")
    expect(page.get_by_label("Seed")).to_have_value("7")


def test_a_drained_farm_says_so_on_batch_overview_and_form_until_it_takes_jobs_again(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit(["a", "b"], name="Waits")
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page.locator("#head")).to_contain_text("waiting")
    expect(page.locator("#why")).to_have_count(0)

    farm.store.renew(hand.info.model_copy(update={"is_draining": True}), [])

    expect(page.locator("#why")).to_contain_text("no worker takes jobs for tiny: worker hand is drained")
    expect(page.locator("#head")).not_to_contain_text(" left")
    page.goto(server.url)
    expect(page.locator("#overview")).to_contain_text("no worker takes jobs for tiny")
    page.goto(f"{server.url}/submit")
    expect(page.locator("#no-takers")).to_contain_text("No worker takes jobs now.")
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page.locator("#why")).to_be_visible()
    farm.store.renew(hand.info, [])
    expect(page.locator("#why")).to_have_count(0)


def test_a_farm_that_never_had_a_worker_says_what_to_start(server: HttpServer, page: Page) -> None:
    page.goto(server.url)
    expect(page.locator("#overview")).to_contain_text("The farm has no worker that takes jobs yet")
    expect(page.locator("#overview code").first).to_have_text("sigmafarm worker")

    page.goto(f"{server.url}/submit")

    expect(page.locator("#no-takers code")).to_have_text("sigmafarm worker")
