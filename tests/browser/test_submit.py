"""The submit form: by keyboard alone, the number of jobs shown first, and nothing lost when it does not fit."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand


def test_a_batch_is_submitted_by_keyboard_alone(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    page.goto(server.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    while page.evaluate("document.activeElement.textContent.trim()") != "Submit":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompts")).to_be_focused()
    page.keyboard.type("a {small|large} house")
    expect(page.locator("#count-num")).to_have_text("2")
    page.keyboard.press("Control+Enter")

    expect(page.get_by_role("status").filter(has_text="Submitted: 2 jobs.")).to_be_visible()
    (batch,) = farm.batches()
    assert [job.request.prompt for job in farm.batch(batch.id).jobs()] == ["a small house", "a large house"]


def test_a_form_that_does_not_fit_comes_back_filled_with_every_error(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page, complaints: list[str]
) -> None:
    page.goto(f"{server.url}/submit")
    said = {"Prompts": "a house\na {red|blue boat", "Width": "515", "Steps": "0", "Seed": "-3", "Name": "Kept"}
    for label, value in said.items():
        page.get_by_label(label).fill(value)
    page.get_by_label("Model").select_option("tiny")
    page.get_by_role("button", name="Submit").click()

    expect(page.get_by_role("alert")).to_contain_text("Nothing was submitted")
    for label, value in said.items():
        expect(page.get_by_label(label)).to_have_value(value)
    expect(page.get_by_label("Model")).to_have_value("tiny")
    expect(page.locator("#width-problem")).to_contain_text("nearest 512 or 520")
    expect(page.locator("#num_inference_steps-problem")).to_contain_text("must be at least 1")
    expect(page.locator("#seed-problem")).to_contain_text("must be at least -1")
    expect(page.locator("#prompts-problem")).to_contain_text("row 2")
    assert page.get_by_label("Width").get_attribute("aria-invalid") == "true"
    assert farm.batches() == []
    complaints.clear()  # the browser tells of the 422


def test_a_file_is_counted_and_comes_back_as_text_when_a_row_is_bad(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("prompt,width\na {red|blue} boat,64\na house,65\n")
    page.goto(f"{server.url}/submit")
    page.get_by_label("Or a file").set_input_files(file)
    expect(page.locator("#count-num")).to_have_text("3")
    page.get_by_role("button", name="Submit").click()

    expect(page.locator("#prompts-problem")).to_contain_text("row 3: width is '65'")
    expect(page.get_by_label("Written as")).to_have_value("csv")
    complaints.clear()
    page.get_by_label("Prompts").fill(file.read_text().replace("65", "72"))
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("status").filter(has_text="Submitted: 3 jobs.")).to_be_visible()
    assert [job.request.width for job in farm.batch(farm.batches()[0].id).jobs()] == [64, 64, 72]


def test_a_picture_is_chosen_sent_once_and_shown_on_the_jobs_page(
    farm: Farm,
    hand: FarmHand,
    server: HttpServer,
    page: Page,
    complaints: list[str],
    tmp_path: Path,
) -> None:
    Image.linear_gradient("L").save(tmp_path / "shade.png")
    counted: list[bytes] = []
    page.on("request", lambda r: counted.append(r.post_data_buffer or b"") if r.url.endswith("/count") else None)
    page.goto(f"{server.url}/submit")
    page.locator("#init_image_file").set_input_files(tmp_path / "shade.png")
    page.get_by_label("Prompts").fill("a boat")
    expect(page.locator("#count-num")).to_have_text("1")

    page.get_by_role("button", name="Submit").click()

    expect(page.get_by_role("status").filter(has_text="Submitted: 1 job.")).to_be_visible()
    (batch,) = farm.batches()
    page.goto(f"{server.url}/jobs/{batch.id}-000000")
    shown = page.get_by_role("img", name="Init image")
    expect(shown).to_be_visible()
    expect(shown).to_have_js_property("naturalWidth", 256)
    assert counted
    assert not any(b"shade.png" in body for body in counted)
    assert complaints == []
