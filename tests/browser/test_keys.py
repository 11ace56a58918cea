"""Where keys are in force people sign in; a read-only dashboard shows everything and has nothing to press."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from sigmafarm_common.config import Config
from sigmafarm_common.keys import Scope
from tests.browser.conftest import add_key
from tests.farm_hand import FarmHand


def test_a_key_signs_in_sees_its_own_and_signs_out(
    page: Page, farm: Farm, hand: FarmHand, config: Config, complaints: list[str]
) -> None:
    own = farm.submit(["mine"], name="Ann's", owner="ann")
    other = farm.submit(["not mine"], name="Bob's", owner="bob")
    _, header = add_key(farm, "ann", Scope.READ, Scope.SUBMIT)
    text = header["Authorization"].removeprefix("Bearer ")
    with HttpServer(config, has_keeper=False) as server:
        page.goto(f"{server.url}/batches/{own.id}")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.get_by_label("Key").fill("sf_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-problem")).to_contain_text("none of this farm's")
        page.get_by_label("Key").fill(text)
        page.keyboard.press("Enter")

        expect(page.get_by_role("heading", name="Ann's")).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#head .badge").first).to_have_text("paused")
        page.goto(f"{server.url}/batches")
        expect(page.get_by_role("row", name="Ann's")).to_be_visible()
        assert page.get_by_text("Bob's").count() == 0
        page.goto(f"{server.url}/batches/{other.id}")
        expect(page.locator(".error-status")).to_have_text("404")
        page.goto(f"{server.url}/workers")
        assert page.get_by_role("button", name="Drain").count() == 0  # that needs an admin's key
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    complaints.clear()  # the 401 and the 404


def test_a_read_only_dashboard_has_nothing_to_press(
    page: Page, farm: Farm, hand: FarmHand, config: Config, tmp_path: Path
) -> None:
    batch = farm.submit(["a", "fail b"])
    hand.work_all()
    open_batch = farm.submit(["c"])
    with HttpServer(config.replaced(read_only=True), has_keeper=False) as server:
        for path in ("/", "/workers", f"/batches/{batch.id}", f"/batches/{open_batch.id}", f"/jobs/{batch.id}-000001"):
            page.goto(server.url + path)
            expect(page.get_by_text("read-only").first).to_be_visible()
            assert page.locator("main form[method=post]").count() == 0, path
            for name in ("Retry", "Cancel", "Pause", "Submit prompts", "Run again with changes"):
                assert page.get_by_role("link", name=name, exact=True).count() == 0, (path, name)
        page.goto(f"{server.url}/submit")
        expect(page.get_by_text("This dashboard is read-only")).to_be_visible()
