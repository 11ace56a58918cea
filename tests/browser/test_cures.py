"""What cannot succeed is not retried: the main button is what may help, and Retry stands behind it."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.browser.every_page import diverge
from tests.farm_hand import FarmHand

CURE = "Again with lms_order 2"


def test_the_cure_is_the_main_button_of_a_job_and_of_all_that_failed_for_its_reason(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit([{"prompt": f"stiff {n}", "lms_order": 4} for n in range(3)] + ["fail by accident"])
    for claim in hand.claim():
        if claim.request.prompt.startswith("stiff"):
            diverge(farm, claim)
        else:
            hand._finish(claim)  # pyright: ignore[reportPrivateUsage]
    main = re.compile("is-primary")

    page.goto(f"{server.url}/jobs/{batch.id}-000003")
    expect(page.get_by_role("button", name="Retry", exact=True)).to_have_class(main)
    page.goto(f"{server.url}/jobs/{batch.id}-000000")
    expect(page.get_by_role("link", name=CURE)).to_have_class(main)
    expect(page.get_by_role("button", name="Retry as it is")).not_to_have_class(main)
    page.goto(f"{server.url}/batches/{batch.id}")
    reason = page.locator(".reasons li", has_text="Trajectory diverged")
    expect(reason.get_by_role("link", name="Retry as they are")).not_to_have_class(main)
    expect(page.locator(".reasons li", has_text="Render failed").locator(".is-primary")).to_have_count(0)
    reason.get_by_role("link", name=CURE).click()

    expect(page.get_by_role("heading", name="3 jobs again with changes")).to_be_visible()
    expect(page.locator("#lms_order")).to_have_value("2")
    page.get_by_role("button", name="Draw 3 jobs again").click()
    expect(page.get_by_text("Submitted: 3 jobs.")).to_be_visible()
    again = farm.batch(farm.batches()[0].id)
    assert [(job.request.prompt, job.request.lms_order) for job in again.jobs()] == [
        (f"stiff {n}", 2) for n in range(3)
    ]
